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
  --grafana-password-file FILE   the password of Grafana's user admin; drawn at the first run by default. Grafana reads it when it
                                 makes its database; in one that is there, this option resets it
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
      # Nor an empty one: that is a variable which was not set, and an empty context would be the current one.
      [ -n "${1-}" ] || fail 2 "$option has no value"
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
  0* | *[!0-9]* | ??????*) fail 2 "--wait is \"$wait_seconds\"; expected 1 to 99999 seconds" ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
stack=$root/infra/kubernetes/monitoring
[ -r "$stack/kustomization.yaml" ] || fail 1 "$stack is not there; expected this script in scripts/ of a checkout"

# Secrets go through files that nobody else can read, and never into an argument.
umask 077
scratch=$(mktemp -d)
forward=
trap 'rm -rf "$scratch"; [ -z "$forward" ] || kill "$forward" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A secret of the command line under the name of its key. It is read once, since it may be a pipe.
take_secret() {
  [ -n "$2" ] || return 0
  cat "$2" >"$scratch/$1" 2>/dev/null || fail 2 "$2 cannot be read"
  grep -q '[^[:space:]]' "$scratch/$1" || fail 2 "$2 is empty"
}
take_secret slack-webhook-url "$slack_file"
take_secret smtp-password "$smtp_file"
take_secret pagerduty-routing-key "$pagerduty_file"
take_secret admin-password "$grafana_file"

kube() {
  kubectl ${context:+"--context=$context"} "$@"
}

for tool in kubectl curl; do
  command -v "$tool" >/dev/null || fail 1 "$tool is not on the PATH"
done

# Its last line is the reason; the others repeat it for each kind of object.
said=$(kube get --raw /version 2>&1) || fail 1 "the cluster does not answer: $(printf '%s\n' "$said" | tail -n 1)"

if [ "$mode" = delete ]; then
  # The namespaces stay: others may have objects there.
  for name in prometheus alertmanager grafana loki jaeger log-collector kube-state-metrics node-exporter; do
    kube delete --filename "$stack/$name.yaml" --ignore-not-found
  done
  kube delete --filename "$stack/log-dashboard.yaml" --namespace monitoring --ignore-not-found
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

if [ -z "$grafana_file" ] && ! secret_exists grafana-secrets; then
  # 24 characters, without a line's end: Grafana reads the file as it is.
  head -c 18 /dev/urandom | base64 | tr -d '\n' >"$scratch/admin-password"
fi
if [ -e "$scratch/admin-password" ]; then
  apply_secret grafana-secrets "--from-file=admin-password=$scratch/admin-password"
fi

if [ -n "$slack_file$smtp_file$pagerduty_file" ] || ! secret_exists alertmanager-secrets; then
  for key in slack-webhook-url smtp-password pagerduty-routing-key; do
    [ -e "$scratch/$key" ] || keep_key alertmanager-secrets "$key"
  done
  apply_secret alertmanager-secrets "--from-file=slack-webhook-url=$scratch/slack-webhook-url" \
    "--from-file=smtp-password=$scratch/smtp-password" \
    "--from-file=pagerduty-routing-key=$scratch/pagerduty-routing-key"
fi

kube apply --kustomize "$stack"

for workload in statefulset/prometheus statefulset/alertmanager statefulset/grafana statefulset/loki \
  deployment/kube-state-metrics daemonset/log-collector daemonset/node-exporter; do
  kube rollout status "$workload" --namespace monitoring "--timeout=${wait_seconds}s"
done
kube rollout status deployment/jaeger --namespace tracing "--timeout=${wait_seconds}s"

# A port of this machine that leads to a Service's pod, until close_forward: port 0 when there is none. The connection arrives inside the
# pod, so no NetworkPolicy refuses it. The API server's proxy connects from outside, and ours refuse that.
open_forward() {
  mkfifo "$scratch/forward"
  # Not through the function: the process to end is kubectl's.
  kubectl ${context:+"--context=$context"} port-forward --address=127.0.0.1 --namespace "$1" "service/$2" ":$3" \
    >"$scratch/forward" 2>"$scratch/refusal" &
  forward=$!
  # kubectl writes a line for each connection, so the pipe stays open.
  exec 3<"$scratch/forward"
  rm "$scratch/forward"
  port=0
  if read -r said <&3; then
    port=${said%% -> *}
    port=${port##*:}
  fi
}

close_forward() {
  kill "$forward" 2>/dev/null || true
  wait "$forward" 2>/dev/null || true
  forward=
  exec 3<&-
}

# What a program answers; nothing when it does not.
answer() {
  [ "$port" = 0 ] || curl --silent --fail --noproxy '*' --max-time 30 "http://127.0.0.1:$port$1" || true
}

# Why a program could not be asked, or where its log is.
reason() {
  if [ "$port" = 0 ]; then
    printf 'kubectl port-forward: %s' "$(tail -n 1 "$scratch/refusal")"
  else
    printf 'see kubectl logs -n %s %s' "$1" "$2"
  fi
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

open_forward monitoring prometheus 9090
expected=$(grep -c '^ *- alert: ' "$root/infra/prometheus/kvsync.rules.yaml")
loaded=$(answer '/api/v1/rules?type=alert' | grep -o '"type":"alerting"' | wc -l | tr -d ' ')
check "Prometheus has $expected alerts" "$([ "$loaded" = "$expected" ] && echo yes || echo no)" \
  "it has $loaded; $(reason monitoring prometheus-0)"
up=$(answer '/api/v1/query?query=count(up%7Bjob%3D%22kvsync-daemon%22%7D%3D%3D1)')
close_forward

open_forward monitoring alertmanager 9093
check "Alertmanager is ready" "$(holds "$(answer /api/v2/status)" '"config"')" "$(reason monitoring alertmanager-0)"
close_forward

open_forward monitoring loki 3100
check "Loki is ready" "$(holds "$(answer /ready)" ready)" "$(reason monitoring loki-0)"
close_forward

# Asks Grafana for its dashboards with the Secret's password: writes them to a file, and prints the status of HTTP.
list_dashboards() {
  kube get secret grafana-secrets --namespace monitoring --output 'jsonpath={.data.admin-password}' | base64 -d |
    sed 's/[\\"]/\\&/g; s/^/user = "admin:/; s/$/"/' >"$scratch/login"
  curl --silent --noproxy '*' --max-time 30 --config "$scratch/login" --output "$scratch/dashboards" --write-out '%{http_code}' \
    "http://127.0.0.1:$port/api/search?type=dash-db&tag=kvsync" || true
}

# Grafana reads the password's file only when it makes its database.
reset_password() {
  kube exec --stdin --namespace monitoring grafana-0 -- grafana cli admin reset-admin-password --password-from-stdin \
    <"$scratch/admin-password" >/dev/null || true
}

open_forward monitoring grafana 3000
check "Grafana has its database" "$(holds "$(answer /api/health)" '"ok"')" "$(reason monitoring grafana-0)"
status=$(list_dashboards)
if [ "$status" = 401 ] && [ -n "$grafana_file" ]; then
  reset_password
  status=$(list_dashboards)
  check "Grafana has the password of $grafana_file" "$([ "$status" != 401 ] && echo yes || echo no)" "its database has another one"
fi
if [ "$status" = 401 ]; then
  printf 'note    Grafana has another password than the Secret, so its dashboards are not counted: see below\n'
else
  expected=$(cat "$stack/../dashboards/dashboards.yaml" "$stack/log-dashboard.yaml" | grep -c '^ *grafana_dashboard: ')
  # It reads the dashboards after it is ready.
  listed=0
  left=$wait_seconds
  while
    [ "$status" != 200 ] || listed=$(grep -o '"uid":"kvsync-' "$scratch/dashboards" | wc -l | tr -d ' ')
    [ "$listed" != "$expected" ] && [ "$left" -gt 0 ] && [ "$port" != 0 ]
  do
    left=$((left - 1))
    sleep 1
    status=$(list_dashboards)
  done
  check "Grafana lists $expected dashboards" "$([ "$listed" = "$expected" ] && echo yes || echo no)" \
    "it lists $listed; $(reason monitoring grafana-0)"
fi
close_forward

open_forward tracing jaeger-query 16686
check "Jaeger answers" "$(holds "$(answer /api/services)" '"data"')" "$(reason tracing deploy/jaeger)"
close_forward

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
if [ "$status" = 401 ]; then
  cat <<'TEXT'
Grafana's database has another one: Grafana reads the Secret only when it makes the database. To set that of the Secret:
  kubectl get secret grafana-secrets -n monitoring -o jsonpath='{.data.admin-password}' | base64 -d |
    kubectl exec -i -n monitoring grafana-0 -- grafana cli admin reset-admin-password --password-from-stdin
TEXT
fi
exit "$failed"
