{{/* The pod template of the Deployment and of the StatefulSets; with `shardCount`, that of one number of shards. */}}
{{- define "kvsync.pod" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (ne .Values.tls.existingSecret "") -}}
metadata:
  labels:
    {{- include "kvsync.selectorLabels" . | nindent 4 }}
    {{- with .shardCount }}
    {{- include "kvsync.shardLabel" (dict "count" .) | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Other settings need new pods; the daemon reads the list of engines again by itself, and of shards the pods that give
    # snapshots matter at the start alone.
    {{- $config := omit (include "kvsync.config" . | fromYaml) "engines" }}
    {{- if and .shardCount $config.snapshot }}{{ $_ := unset $config.snapshot "warm_from" }}{{ end }}
    checksum/config: {{ $config | toJson | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "kvsync.fullname" . }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "kvsync.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  # Five seconds before it is told to stop, up to 30 in which the picker's open requests end, and what a stop takes.
  terminationGracePeriodSeconds: {{ ternary 60 15 .Values.picker.enabled }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    fsGroup: 1000
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: daemon
      image: {{ include "kvsync.image" . }}
      {{- with .Values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args: ["--config", "/etc/kvsync/config/kvsync.yaml"]
      {{- if or .Values.extraEnv .Values.tls.existingSecret .shardCount }}
      env:
        {{- with .shardCount }}
        - { name: KVSYNC_SHARD_COUNT, value: {{ . | quote }} }
        # Of this number of shards: pods of two numbers have one ConfigMap.
        - { name: KVSYNC_PICKER_SHARDS_ADDRESSES, value: {{ include "kvsync.shardAddresses" (dict "root" $ "count" .) | quote }} }
        {{- end }}
        {{- if .Values.tls.existingSecret }}
        - { name: NODE_EXTRA_CA_CERTS, value: /etc/kvsync/tls/ca.crt }
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - { name: http, containerPort: {{ include "kvsync.port" . }} }
        {{- if .Values.picker.enabled }}
        - { name: picker, containerPort: {{ dig "picker" "port" 9002 .Values.config }} }
        - { name: picker-health, containerPort: {{ dig "picker" "health_port" 9003 .Values.config }} }
        {{- end }}
      readinessProbe:
        {{- if .Values.picker.enabled }}
        # Ready when it picks: the endpoints are known, and the daemon has been ready once.
        grpc: { port: {{ dig "picker" "health_port" 9003 .Values.config }}, service: readiness }
        {{- else }}
        httpGet: { path: /readyz, port: http{{ if eq $scheme "HTTPS" }}, scheme: HTTPS{{ end }} }
        {{- end }}
        periodSeconds: 5
      livenessProbe:
        httpGet: { path: /livez, port: http{{ if eq $scheme "HTTPS" }}, scheme: HTTPS{{ end }} }
        periodSeconds: 10
        failureThreshold: 6
      # The Service's endpoints forget a pod while it is being told to stop, seconds later on a busy cluster: until then it answers.
      lifecycle:
        preStop:
          exec: { command: ["sleep", "5"] }
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        # Whole folders: what is mounted by subPath does not change with its source.
        - { name: config, mountPath: /etc/kvsync/config, readOnly: true }
        {{- if .Values.tokens.existingSecret }}
        - { name: tokens, mountPath: /etc/kvsync/tokens, readOnly: true }
        {{- end }}
        {{- if .Values.shards.seedSecret }}
        - { name: seed, mountPath: /etc/kvsync/seed, readOnly: true }
        {{- end }}
        {{- if .Values.tls.existingSecret }}
        - { name: tls, mountPath: /etc/kvsync/tls, readOnly: true }
        {{- end }}
        - { name: state, mountPath: /var/lib/kvsync }
        - { name: temporary, mountPath: /tmp }
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: { name: {{ include "kvsync.fullname" . }} }
    {{- with .Values.tokens.existingSecret }}
    - name: tokens
      secret: { secretName: {{ . }} }
    {{- end }}
    {{- with .Values.shards.seedSecret }}
    - name: seed
      secret: { secretName: {{ . }} }
    {{- end }}
    {{- with .Values.tls.existingSecret }}
    - name: tls
      secret: { secretName: {{ . }} }
    {{- end }}
    {{- if not .Values.persistence.enabled }}
    # Outlives the container, not the pod: a new pod's index comes from a sibling (snapshot.warm_from).
    - name: state
      emptyDir: {}
    {{- end }}
    - name: temporary
      emptyDir: { sizeLimit: 64Mi }
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
