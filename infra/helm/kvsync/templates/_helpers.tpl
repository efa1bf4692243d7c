{{/* What all names begin with. */}}
{{- define "kvsync.prefix" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kvsync.fullname" -}}
{{ include "kvsync.prefix" . }}-daemon
{{- end -}}

{{/* The label that the scrape job, rules and dashboards go by is the same in every release. */}}
{{- define "kvsync.selectorLabels" -}}
app.kubernetes.io/name: kvsync-daemon
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kvsync.labels" -}}
{{ include "kvsync.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The head of every object: metadata without the kind's own fields. `namespace` is empty for what is in none. */}}
{{- define "kvsync.metadata" -}}
name: {{ .name }}
{{- with get . "namespace" | default (hasKey . "namespace" | ternary "" .root.Release.Namespace) }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "kvsync.labels" .root | nindent 2 }}
{{- end -}}

{{- define "kvsync.port" -}}
{{- dig "http" "port" 7070 .Values.config -}}
{{- end -}}

{{- define "kvsync.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The StatefulSet of so many shards; `count` is a number. */}}
{{- define "kvsync.shardSet" -}}
{{ include "kvsync.fullname" .root }}-of-{{ .count }}
{{- end -}}

{{/* The label by which the pods of two numbers of shards are told apart. */}}
{{- define "kvsync.shardLabel" -}}
kvsync.io/shards: {{ .count | quote }}
{{- end -}}

{{/* Numbers of shards that have pods, as JSON: the one before first, whose pods have the rows. */}}
{{- define "kvsync.shardCounts" -}}
{{- $counts := list -}}
{{- with .Values.shards -}}
{{- if .previousCount -}}{{- $counts = append $counts (int .previousCount) -}}{{- end -}}
{{- $counts = append $counts (int .count) -}}
{{- end -}}
{{- $counts | toJson -}}
{{- end -}}

{{/* Addresses of the pods of so many shards, by shard, its replicas with blanks between; `count` is a number. */}}
{{- define "kvsync.shardAddresses" -}}
{{- $scheme := ternary "https" "http" (ne .root.Values.tls.existingSecret "") -}}
{{- $set := include "kvsync.shardSet" . -}}
{{- $shards := list -}}
{{- range $shard := until (int .count) -}}
{{- $replicas := list -}}
{{- range $replica := until (int $.root.Values.shards.replicas) -}}
{{- $pod := add $shard (mul $replica $.count) -}}
{{- $replicas = append $replicas (printf "%s://%s-%d.%s-pods:%s" $scheme $set $pod (include "kvsync.fullname" $.root) (include "kvsync.port" $.root)) -}}
{{- end -}}
{{- $shards = append $shards (join " " $replicas) -}}
{{- end -}}
{{- join "," $shards -}}
{{- end -}}

{{/* The settings that follow from what is mounted, below those of `config`. */}}
{{- define "kvsync.config" -}}
{{- $scheme := ternary "https" "http" (ne .Values.tls.existingSecret "") -}}
{{- $made := dict "security" (dict) "snapshot" (dict) "tls" (dict) "picker" (dict) -}}
{{- if .Values.tokens.existingSecret -}}
{{- $_ := set $made.security "tokens_file" "/etc/kvsync/tokens/tokens.yaml" -}}
{{- $_ := set $made.snapshot "warm_token_file" "/etc/kvsync/tokens/warm.token" -}}
{{- $port := include "kvsync.port" . -}}
{{- $givers := printf "%s://%s:%s" $scheme (include "kvsync.fullname" .) $port -}}
{{- if .Values.shards.enabled -}}
{{- $givers = list -}}
{{- range $count := include "kvsync.shardCounts" . | fromJsonArray -}}
{{- $set := include "kvsync.shardSet" (dict "root" $ "count" $count) -}}
{{- range $n := until (int (mul $count $.Values.shards.replicas)) -}}
{{- $givers = append $givers (printf "%s://%s-%d.%s-pods:%s" $scheme $set $n (include "kvsync.fullname" $) $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $made.snapshot "warm_from" $givers -}}
{{- end -}}
{{- if .Values.shards.enabled -}}
{{- $_ := set $made "shard" (dict "index" "ordinal") -}}
{{- end -}}
{{- if .Values.shards.seedSecret -}}
{{- $_ := set $made "index" (dict "seed_file" "/etc/kvsync/seed/seed") -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $made "tls" (dict "cert_file" "/etc/kvsync/tls/tls.crt" "key_file" "/etc/kvsync/tls/tls.key") -}}
{{- end -}}
{{- if .Values.picker.enabled -}}
{{- $_ := set $made "picker" (dict "enabled" true "host" "0.0.0.0" "pool" (dict "name" .Values.picker.pool.name)) -}}
{{- end -}}
{{- if and .Values.shards.enabled .Values.tokens.existingSecret -}}
{{- $_ := set $made.picker "shards" (dict "token_file" "/etc/kvsync/tokens/warm.token") -}}
{{- end -}}
{{- range $section, $settings := $made -}}
{{- if not $settings -}}{{- $_ := unset $made $section -}}{{- end -}}
{{- end -}}
{{- mustMergeOverwrite $made (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* Refuses values that fit the schema and do not fit each other. */}}
{{- define "kvsync.checks" -}}
{{- if and .Values.prometheusRule.enabled (not (hasPrefix "kvsync-" (include "kvsync.fullname" .))) -}}
{{- fail (printf "the rules watch pods whose names begin with kvsync-, and these begin with %q; expected a release called kvsync, kvsync-…, or nameOverride with such a name" (include "kvsync.fullname" .)) -}}
{{- end -}}
{{- if dig "tls" "client_ca_file" nil .Values.config -}}
{{- fail "config.tls.client_ca_file asks every caller for a certificate, and kubelet's probes have none; expected it unset" -}}
{{- end -}}
{{- if and .Values.tls.existingSecret .Values.serviceMonitor.enabled (not .Values.serviceMonitor.tlsConfig) -}}
{{- fail "tls.existingSecret is set and serviceMonitor.tlsConfig is empty; expected the authority that Prometheus verifies the certificate with, such as { ca: { secret: { name: …, key: ca.crt } }, serverName: … }" -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas %d is above autoscaling.maxReplicas %d, and the API server refuses that; expected at most as many" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- include "kvsync.reachChecks" . -}}
{{- include "kvsync.folderChecks" . -}}
{{- end -}}

{{/* Refuses settings with which nothing reaches the daemon, or the daemon does not start. */}}
{{- define "kvsync.reachChecks" -}}
{{- $config := .Values.config -}}
{{- $host := dig "http" "host" "" $config | default "" -}}
{{- if regexMatch "^(?:127\\.|::1$|localhost$)" $host -}}
{{- fail (printf "config.http.host %s can be reached inside the pod alone, and kubelet's probes come from outside; expected 0.0.0.0 or \"::\"" $host) -}}
{{- end -}}
{{- range list (list "http" "port") (list "picker" "port") (list "picker" "health_port") -}}
{{- $port := dig (first .) (last .) 1 $config -}}
{{- if and (ne nil $port) (eq 0 (int $port)) -}}
{{- fail (printf "config.%s is 0, so that each start draws another port, and a Service needs one that stays; expected 1 or more" (join "." .)) -}}
{{- end -}}
{{- end -}}
{{- $given := or .Values.tokens.existingSecret (dig "security" "tokens_file" "" $config) (dig "security" "trust_every_caller_on_the_network" false $config) -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "KVSYNC_SECURITY_" .name -}}{{- $given = true -}}{{- end -}}
{{- end -}}
{{- if not $given -}}
{{- fail "tokens.existingSecret is empty, and the daemon does not start without tokens where others reach it; expected a Secret with the key tokens.yaml, or config.security.trust_every_caller_on_the_network: true" -}}
{{- end -}}
{{- end -}}

{{/* Refuses folders that the daemon cannot write: its root is read-only. */}}
{{- define "kvsync.folderChecks" -}}
{{- $mounts := list "/var/lib/kvsync" "/tmp" -}}
{{- range .Values.extraVolumeMounts -}}{{- $mounts = append $mounts .mountPath -}}{{- end -}}
{{- range list (list "snapshot" "directory") (list "discovery" "state_directory") (list "discovery" "shared_directory") -}}
{{- $folder := dig (first .) (last .) "" $.Values.config | default "" -}}
{{- $writable := not (hasPrefix "/" $folder) -}}
{{- range $mounts -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .)) (printf "%s/" $folder) -}}{{- $writable = true -}}{{- end -}}
{{- end -}}
{{- if not $writable -}}
{{- fail (printf "config.%s %s is on the container's root, which is read-only; expected a folder below one of %s, or a mount for it in extraVolumeMounts" (join "." .) $folder (join ", " $mounts)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses shards that cannot be. */}}
{{- define "kvsync.shardChecks" -}}
{{- if .Values.shards.enabled -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "shards.enabled and autoscaling.enabled exclude each other: the number of pods decides who follows which engine; expected autoscaling.enabled: false" -}}
{{- end -}}
{{- if hasKey .Values.config "shard" -}}
{{- fail "config.shard and shards.enabled exclude each other: with an index for all pods, the other shards have no pod; expected no config.shard" -}}
{{- end -}}
{{- if gt (mul (add (int .Values.shards.count) (int .Values.shards.previousCount)) (int .Values.shards.replicas)) 1024 -}}
{{- fail "shards.count plus shards.previousCount, times shards.replicas, is more than 1024: a new pod asks all for the rows of its engines; expected at most 1024 pods" -}}
{{- end -}}
{{- if eq (int .Values.shards.count) (int .Values.shards.previousCount) -}}
{{- fail "shards.previousCount is shards.count; expected the number before the change, or 0" -}}
{{- end -}}
{{- if and .Values.tokens.existingSecret (not .Values.shards.seedSecret) (ne "public" (dig "index" "prefix_hashes" "secret" .Values.config)) -}}
{{- fail "shards.enabled needs shards.seedSecret: without one seed for all shards, a change of shards.count would begin cold; expected a Secret with the key seed, or config.index.prefix_hashes: public" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "kvsync.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "kvsync.fullname" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}
