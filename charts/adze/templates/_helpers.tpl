{{- define "adze.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters: suffixes such as -release must fit in a label's 63. */}}
{{- define "adze.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "adze.selectorLabels" -}}
app.kubernetes.io/name: {{ include "adze.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What every object carries, beside the name that says which part it is. */}}
{{- define "adze.commonLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "adze.labels" -}}
app.kubernetes.io/name: {{ include "adze.name" . }}
{{ include "adze.commonLabels" . }}
{{- end }}

{{/* A name of their own, so that the Service and the budget never select a hook's Pod. */}}
{{- define "adze.releaseLabels" -}}
app.kubernetes.io/name: {{ include "adze.name" . }}-release
{{ include "adze.commonLabels" . }}
{{- end }}

{{- define "adze.testLabels" -}}
app.kubernetes.io/name: {{ include "adze.name" . }}-test
{{ include "adze.commonLabels" . }}
{{- end }}

{{- define "adze.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "adze.fullname" .) "default" }}
{{- default $default .Values.serviceAccount.name }}
{{- end }}

{{- define "adze.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Pod Security "restricted", for the Pod and for its container. */}}
{{- define "adze.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "adze.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the operator's image runs: the same for the operator and for the hooks. */}}
{{- define "adze.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Makes roles alike in both scopes. Takes root, name, labels, annotations, rules and subject (a service account):
     a ClusterRole with its binding, or with watch.namespaces a Role with its binding in each of them. */}}
{{- define "adze.grant" -}}
{{- $grant := . }}
{{- $scoped := .root.Values.watch.namespaces }}
{{- range (default (list "") $scoped) }}
{{- $metadata := dict "name" $grant.name "labels" $grant.labels }}
{{- with $grant.annotations }}{{ $_ := set $metadata "annotations" . }}{{ end }}
{{- with . }}{{ $_ := set $metadata "namespace" . }}{{ end }}
{{- $kind := ternary "Role" "ClusterRole" (not (empty $scoped)) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata: {{- toYaml $metadata | nindent 2 }}
rules: {{- $grant.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata: {{- toYaml $metadata | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $grant.name }}
subjects:
- kind: ServiceAccount
  name: {{ $grant.subject }}
  namespace: {{ $grant.root.Release.Namespace }}
{{- end }}
{{- end }}
