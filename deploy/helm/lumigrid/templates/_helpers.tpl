{{- define "lumigrid.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "lumigrid.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lumigrid.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* One of Lumigrid's own images: a dict of root and image. */}}
{{- define "lumigrid.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "lumigrid.coordinatorSecret" -}}
{{ .Values.secrets.coordinator | default (printf "%s-coordinator" (include "lumigrid.fullname" .)) }}
{{- end }}

{{- define "lumigrid.workerSecret" -}}
{{ .Values.secrets.worker | default (printf "%s-worker" (include "lumigrid.fullname" .)) }}
{{- end }}

{{- define "lumigrid.postgresSecret" -}}
{{ .Values.secrets.postgres | default (printf "%s-postgres" (include "lumigrid.fullname" .)) }}
{{- end }}

{{- define "lumigrid.postgresHost" -}}
{{- if .Values.postgres.bundled }}{{ include "lumigrid.fullname" . }}-postgres{{ else }}{{ required "postgres.external.host is missing: name a server, or set postgres.bundled" .Values.postgres.external.host }}{{ end }}
{{- end }}

{{- define "lumigrid.conninfo" -}}
{{- $e := .Values.postgres.external -}}
{{- if .Values.postgres.bundled -}}
host={{ include "lumigrid.postgresHost" . }} user=lumigrid dbname=lumigrid
{{- else -}}
host={{ include "lumigrid.postgresHost" . }} port={{ $e.port }} user={{ $e.user }} dbname={{ $e.database }} sslmode={{ $e.sslmode }}
{{- end }}
{{- end }}

{{/* Options of a program as its environment: a map of names to values. */}}
{{- define "lumigrid.settings" -}}
{{- range $name, $value := . }}
{{- printf "- {name: LUMIGRID_%s, value: %s}\n" ($name | upper | replace "-" "_") ($value | toString | quote) }}
{{- end }}
{{- end }}

{{/* What every pod has: no rights, no service links (a service "lumigrid" would set LUMIGRID_PORT, which is an option). */}}
{{- define "lumigrid.pod" -}}
serviceAccountName: {{ include "lumigrid.fullname" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext: {{ include "lumigrid.podSecurity" 10001 | fromYaml | toJson }}
{{- end }}

{{- define "lumigrid.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lumigrid.containerSecurity" -}}
{"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"drop":["ALL"]}}
{{- end }}

{{/* Enabled pools with the defaults filled in. */}}
{{- define "lumigrid.pools" -}}
{{- range $name, $pool := .Values.workers }}
{{- $merged := mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy $pool) }}
{{- if $merged.enabled }}
{{ $name }}: {{ $merged | toJson }}
{{- end }}
{{- end }}
{{- end }}
