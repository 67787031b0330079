{{- define "gas.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The labels that select a component's pods; they never change. Takes a dict with root and component. */ -}}
{{- define "gas.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "gas.labels" -}}
{{ include "gas.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The image of a command: root and component, which is a service or gas. */ -}}
{{- define "gas.image" -}}
{{- $digest := get .root.Values.image.digests .component -}}
{{- if $digest -}}
{{ printf "%s/%s@%s" .root.Values.image.repository .component $digest }}
{{- else -}}
{{ printf "%s/%s:%s" .root.Values.image.repository .component (default .root.Chart.AppVersion .root.Values.image.tag) }}
{{- end -}}
{{- end -}}

{{- /* The users of NATS that a component connects as; each has a password in the Secret. */ -}}
{{- define "gas.users" -}}
{{- if eq . "thaw" }}thaw sweep{{ else if eq . "provision" }}operator{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- /* What the chart itself sets for a component, as JSON: root and component. */ -}}
{{- define "gas.managed" -}}
{{- $v := .root.Values -}}
{{- $set := dict "GAS_NATS_URL" $v.nats.url -}}
{{- if $v.nats.ca.secret -}}
{{- $_ := set $set "GAS_NATS_CA_FILE" (printf "/etc/gas/ca/%s" $v.nats.ca.key) -}}
{{- end -}}
{{- range splitList " " (include "gas.users" .component) -}}
{{- $_ := set $set (printf "GAS_NATS_%s_PASSWORD_FILE" (upper .)) (printf "/etc/gas/secrets/%s" .) -}}
{{- end -}}
{{- if eq .component "provision" -}}
{{- $_ := set $set "GAS_NATS_REPLICAS" ($v.nats.replicas | int | toString) -}}
{{- else -}}
{{- $_ := set $set "GAS_HEALTH_LISTEN" (printf ":%d" (int $v.healthPort)) -}}
{{- $_ := set $set "GAS_STOP_GRACE" (printf "%ds" (int $v.stopGraceSeconds)) -}}
{{- end -}}
{{- if eq .component "bridge" -}}
{{- $_ := set $set "GAS_WEBHOOK_LISTEN" (ternary (printf ":%d" (int $v.bridge.webhook.port)) "" $v.bridge.webhook.enabled) -}}
{{- end -}}
{{- if eq .component "web" -}}
{{- $_ := set $set "GAS_WEB_LISTEN" (printf ":%d" (int $v.web.port)) -}}
{{- $_ := set $set "GAS_OIDC_CLIENT_SECRET_FILE" "/etc/gas/secrets/oidc-client-secret" -}}
{{- if $v.ingress.web.enabled -}}
{{- $_ := set $set "GAS_WEB_BASE_URL" (printf "https://%s" $v.ingress.web.host) -}}
{{- end -}}
{{- end -}}
{{ $set | toJson }}
{{- end -}}

{{- /* The environment of a component: root and component. files/settings.json says who reads what. */ -}}
{{- define "gas.env" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $readers := $root.Files.Get "files/settings.json" | fromJson -}}
{{- $own := dict -}}
{{- if ne $component "provision" -}}
{{- $own = (get $root.Values $component).settings -}}
{{- end -}}
{{- $managed := include "gas.managed" . | fromJson -}}
{{- $env := dict -}}
{{- range $from := list $root.Values.settings $own -}}
{{- range $name, $value := $from -}}
{{- if not (hasKey $readers $name) -}}
{{- fail (printf "%s is no setting: docs/configuration.md lists them" $name) -}}
{{- end -}}
{{- $for := get $readers $name -}}
{{- if and (has $component $for | not) (eq $component "provision" | not) (gt (len $for) 0) -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s.settings.%s: %s does not read it" $component $name $component) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $managed -}}
{{- if and (hasKey $env $name) (ne $name "GAS_WEB_BASE_URL") -}}
{{- fail (printf "settings.%s: the chart sets it" $name) -}}
{{- end -}}
{{- $_ := set $env $name (get $env $name | default $value) -}}
{{- end -}}
- name: AWS_REGION
  value: {{ $root.Values.aws.region | quote }}
{{- range $name, $value := $env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with $root.Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gas.mounts" -}}
- name: secrets
  mountPath: /etc/gas/secrets
  readOnly: true
{{- if .root.Values.nats.ca.secret }}
- name: ca
  mountPath: /etc/gas/ca
  readOnly: true
{{- end }}
{{- if .root.Values.files }}
- name: files
  mountPath: /etc/gas/files
  readOnly: true
{{- end }}
{{- end -}}

{{- define "gas.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secrets.name }}
    defaultMode: 0440
    items:
    {{- range splitList " " (include "gas.users" .component) }}
      - key: {{ . }}
        path: {{ . }}
    {{- end }}
    {{- if eq .component "web" }}
      - key: oidc-client-secret
        path: oidc-client-secret
    {{- end }}
{{- with .root.Values.nats.ca }}
{{- if .secret }}
- name: ca
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- if .root.Values.files }}
- name: files
  configMap:
    name: {{ include "gas.fullname" .root }}-files
{{- end }}
{{- end -}}

{{- /* What is the same in every pod: root, component, and account, the name of its ServiceAccount. */ -}}
{{- define "gas.pod" -}}
serviceAccountName: {{ .account }}
# No service calls Kubernetes. A role of AWS has a token of its own.
automountServiceAccountToken: false
# The variables of Services begin with the name of the release, GAS_ for example, and are no settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  {{- include "gas.volumes" . | nindent 2 }}
{{- end -}}
