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

{{/* The settings that follow from what is mounted, below those of `config`. */}}
{{- define "kvsync.config" -}}
{{- $scheme := ternary "https" "http" (ne .Values.tls.existingSecret "") -}}
{{- $made := dict "security" (dict) "snapshot" (dict) "tls" (dict) "picker" (dict) -}}
{{- if .Values.tokens.existingSecret -}}
{{- $_ := set $made.security "tokens_file" "/etc/kvsync/tokens/tokens.yaml" -}}
{{- $_ := set $made.snapshot "warm_token_file" "/etc/kvsync/tokens/warm.token" -}}
{{- $_ := set $made.snapshot "warm_from" (printf "%s://%s:%s" $scheme (include "kvsync.fullname" .) (include "kvsync.port" .)) -}}
{{- end -}}
{{- if .Values.tls.existingSecret -}}
{{- $_ := set $made "tls" (dict "cert_file" "/etc/kvsync/tls/tls.crt" "key_file" "/etc/kvsync/tls/tls.key") -}}
{{- end -}}
{{- if .Values.picker.enabled -}}
{{- $_ := set $made "picker" (dict "enabled" true "host" "0.0.0.0" "pool" (dict "name" .Values.picker.pool.name)) -}}
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
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "kvsync.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "kvsync.fullname" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}
