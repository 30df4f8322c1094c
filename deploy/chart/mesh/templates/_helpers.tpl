{{- define "mesh.selector" -}}
app.kubernetes.io/name: mesh
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mesh.labels" -}}
{{ include "mesh.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "mesh.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Roles are not in a namespace: two releases must not share one. */}}
{{- define "mesh.clusterName" -}}
{{ if eq .Release.Name .Release.Namespace }}{{ .Release.Name }}{{ else }}{{ .Release.Namespace }}-{{ .Release.Name }}{{ end }}
{{- end }}

{{- define "mesh.healthPort" -}}
{{ .Values.health.port | default (ternary 10256 10356 .Values.proxyReplacement) }}
{{- end }}

{{- define "mesh.metricsPort" -}}
{{ .Values.metrics.port | default (ternary 10249 10349 .Values.proxyReplacement) }}
{{- end }}

{{/* The kubelet asks the pod's own address, which is the node's, unless health is answered on another. */}}
{{- define "mesh.probe" -}}
{{- $address := .root.Values.health.address | trimPrefix "[" | trimSuffix "]" -}}
httpGet:
  path: {{ .path }}
  port: {{ include "mesh.healthPort" .root }}
  {{- if not (has $address (list "0.0.0.0" "::")) }}
  host: {{ $address | quote }}
  {{- end }}
{{- end }}

{{/* docs/running.md: what each capability is for, and what fails without it. */}}
{{- define "mesh.securityContext" -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add: {{ ternary (list "NET_ADMIN" "SYS_ADMIN") (list "BPF" "NET_ADMIN" "PERFMON") .Values.endConnections | toJson }}
{{- end }}
