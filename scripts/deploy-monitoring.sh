#!/bin/sh
# Deploys the monitoring stack to a cluster without the Prometheus Operator (docs/operations/monitoring-stack.md), and checks that it
# works. Run it again at any time: it changes what is different, and keeps the Secrets and the data.
set -eu

usage() {
  cat <<'TEXT'
usage: scripts/deploy-monitoring.sh [OPTION …]
  --context NAME                 a context of the kubeconfig; the current one by default
  --slack-webhook-file FILE      Alertmanager's Slack address
  --smtp-password-file FILE      Alertmanager's password at the mail server
  --pagerduty-key-file FILE      Alertmanager's key of a PagerDuty service, where its file has PagerDuty
  --grafana-password-file FILE   the password of Grafana's user admin; drawn at the first run by default
  --wait SECONDS                 longest wait for each program; 300 by default
  --beside-operator              deploy although the cluster has the Prometheus Operator
  --dry-run                      show what the API server would change, and change nothing
  --delete                       delete the stack with its data and Secrets; the namespaces stay
Exit codes: 0 everything works, 1 a check or a command failed, 2 unusable arguments.
TEXT
}

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

context=
slack_file=
smtp_file=
pagerduty_file=
grafana_file=
wait_seconds=300
beside_operator=no
mode=deploy
while [ $# -gt 0 ]; do
  option=$1
  shift
  case $option in
    --context | --slack-webhook-file | --smtp-password-file | --pagerduty-key-file | --grafana-password-file | --wait)
      [ $# -gt 0 ] || fail 2 "$option has no value"
      value=$1
      shift
      ;;
  esac
  case $option in
    --context) context=$value ;;
    --slack-webhook-file) slack_file=$value ;;
    --smtp-password-file) smtp_file=$value ;;
    --pagerduty-key-file) pagerduty_file=$value ;;
    --grafana-password-file) grafana_file=$value ;;
    --wait) wait_seconds=$value ;;
    --beside-operator) beside_operator=yes ;;
    --dry-run | --delete)
      [ "$mode" = deploy ] || [ "$mode" = "${option#--}" ] || fail 2 "--dry-run and --delete exclude each other"
      mode=${option#--}
      ;;
    --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      fail 2 "$option is not an option"
      ;;
  esac
done
case $wait_seconds in
  '' | 0 | *[!0-9]*) fail 2 "--wait is \"$wait_seconds\"; expected seconds, 1 or more" ;;
esac
for file in "$slack_file" "$smtp_file" "$pagerduty_file" "$grafana_file"; do
  [ -z "$file" ] || { [ -r "$file" ] && [ ! -d "$file" ]; } || fail 2 "$file cannot be read"
done

root=$(cd "$(dirname "$0")/.." && pwd)
stack=$root/infra/kubernetes/monitoring

kube() {
  kubectl ${context:+"--context=$context"} "$@"
}

command -v kubectl >/dev/null || fail 1 "kubectl is not on the PATH"

# Its last line is the reason; the others repeat it for each kind of object.
said=$(kube get --raw /version 2>&1) || fail 1 "the cluster does not answer: $(printf '%s\n' "$said" | tail -n 1)"

if [ "$mode" = delete ]; then
  # The namespaces stay: others may have objects there.
  for name in prometheus alertmanager grafana loki jaeger log-collector kube-state-metrics node-exporter; do
    kube delete --filename "$stack/$name.yaml" --ignore-not-found
  done
  kube delete --kustomize "$stack/../dashboards" --namespace monitoring --ignore-not-found
  kube delete persistentvolumeclaim data-prometheus-0 data-alertmanager-0 data-grafana-0 data-loki-0 \
    --namespace monitoring --ignore-not-found
  kube delete secret grafana-secrets alertmanager-secrets --namespace monitoring --ignore-not-found
  exit 0
fi

for resource in namespaces clusterroles.rbac.authorization.k8s.io daemonsets.apps; do
  kube auth can-i create "$resource" --all-namespaces --quiet ||
    fail 1 "this account may not create $resource; expected a cluster administrator's"
done
if [ "$beside_operator" = no ] && kube get crd servicemonitors.monitoring.coreos.com >/dev/null 2>&1; then
  fail 1 "this cluster has the Prometheus Operator: use infra/kubernetes/operator, or pass --beside-operator"
fi
if [ "$mode" = dry-run ] && ! kube get namespace monitoring tracing >/dev/null 2>&1; then
  # The API server compares no object of a namespace that is not there.
  kube apply --kustomize "$stack" --dry-run=client
  exit 0
fi
if [ "$mode" = dry-run ]; then
  # Exit code 1 means that something would change.
  kube diff --kustomize "$stack" || [ $? -eq 1 ]
  exit 0
fi

# Secrets go through files that nobody else can read, and never into an argument.
umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

secret_exists() {
  kube get secret "$1" --namespace monitoring >/dev/null 2>&1
}

# A key of a Secret as it is, an empty file when there is none: applying a Secret drops the keys that it does not name.
keep_key() {
  if secret_exists "$1"; then
    kube get secret "$1" --namespace monitoring --output "jsonpath={.data.$2}" | base64 -d >"$scratch/$2"
  else
    : >"$scratch/$2"
  fi
}

apply_secret() {
  name=$1
  shift
  kube create secret generic "$name" --namespace monitoring "$@" --dry-run=client --output yaml | kube apply --filename -
}

kube apply --filename "$stack/namespaces.yaml"

if [ -n "$grafana_file" ]; then
  apply_secret grafana-secrets "--from-file=admin-password=$grafana_file"
elif ! secret_exists grafana-secrets; then
  # 24 characters, without a line's end: Grafana reads the file as it is.
  head -c 18 /dev/urandom | base64 | tr -d '\n' >"$scratch/admin-password"
  apply_secret grafana-secrets "--from-file=admin-password=$scratch/admin-password"
fi

if [ -n "$slack_file$smtp_file$pagerduty_file" ] || ! secret_exists alertmanager-secrets; then
  [ -n "$slack_file" ] || { keep_key alertmanager-secrets slack-webhook-url && slack_file=$scratch/slack-webhook-url; }
  [ -n "$smtp_file" ] || { keep_key alertmanager-secrets smtp-password && smtp_file=$scratch/smtp-password; }
  [ -n "$pagerduty_file" ] || { keep_key alertmanager-secrets pagerduty-routing-key && pagerduty_file=$scratch/pagerduty-routing-key; }
  apply_secret alertmanager-secrets "--from-file=slack-webhook-url=$slack_file" "--from-file=smtp-password=$smtp_file" \
    "--from-file=pagerduty-routing-key=$pagerduty_file"
fi

kube apply --kustomize "$stack"

for workload in statefulset/prometheus statefulset/alertmanager statefulset/grafana statefulset/loki \
  deployment/kube-state-metrics daemonset/log-collector daemonset/node-exporter; do
  kube rollout status "$workload" --namespace monitoring "--timeout=${wait_seconds}s"
done
kube rollout status deployment/jaeger --namespace tracing "--timeout=${wait_seconds}s"

# What a program answers, through the API server.
answer() {
  kube get --raw "/api/v1/namespaces/$1/services/$2/proxy$3" 2>/dev/null || true
}

failed=0
check() {
  if [ "$2" = yes ]; then
    printf 'ok      %s\n' "$1"
  else
    printf 'failed  %s: %s\n' "$1" "$3"
    failed=1
  fi
}

holds() {
  case $1 in
    *"$2"*) echo yes ;;
    *) echo no ;;
  esac
}

expected=$(grep -c '^ *- alert: ' "$root/infra/prometheus/kvsync.rules.yaml")
loaded=$(answer monitoring prometheus:http '/api/v1/rules?type=alert' | grep -o '"type":"alerting"' | wc -l | tr -d ' ')
check "Prometheus has $expected alerts" "$([ "$loaded" = "$expected" ] && echo yes || echo no)" "it has $loaded"
check "Alertmanager is ready" "$(holds "$(answer monitoring alertmanager:http /api/v2/status)" '"config"')" "see kubectl logs -n monitoring alertmanager-0"
check "Loki is ready" "$(holds "$(answer monitoring loki:http /ready)" ready)" "see kubectl logs -n monitoring loki-0"
check "Grafana has its database" "$(holds "$(answer monitoring grafana:http /api/health)" '"ok"')" "see kubectl logs -n monitoring grafana-0"
check "Jaeger answers" "$(holds "$(answer tracing jaeger-query:query /api/services)" '"data"')" "see kubectl logs -n tracing deploy/jaeger"
up=$(answer monitoring prometheus:http '/api/v1/query?query=count(up%7Bjob%3D%22kvsync-daemon%22%7D%3D%3D1)')
if [ "$(holds "$up" '"value"')" = yes ]; then
  printf 'ok      Prometheus scrapes the daemon\n'
else
  printf 'note    Prometheus scrapes no daemon yet: docs/operations/monitoring-stack.md#no-metrics\n'
fi

cat <<'TEXT'

kubectl port-forward -n monitoring svc/grafana 3000:3000
kubectl port-forward -n monitoring svc/prometheus 9090:9090
kubectl port-forward -n monitoring svc/alertmanager 9093:9093
kubectl port-forward -n monitoring svc/loki 3100:3100
kubectl port-forward -n tracing svc/jaeger-query 16686:16686

Grafana's user is admin. Its password:
  kubectl get secret grafana-secrets -n monitoring -o jsonpath='{.data.admin-password}' | base64 -d
TEXT
exit "$failed"
