{{- /* Our workers, and all of our pods, by their label. */ -}}
{{- define "anymodal.workers" -}}
{{- range $i, $name := keys .Values.workers | sortAlpha }}{{ if $i }}, {{ end }}worker-{{ $name }}{{ end -}}
{{- end -}}
{{- define "anymodal.pods" -}}api, {{ include "anymodal.workers" . }}{{- end -}}

{{- /* What a pod of ours may do. */ -}}
{{- define "anymodal.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: secrets
    secret: {secretName: {{ .Values.secret }}}
  - name: data
    persistentVolumeClaim: {claimName: anymodal}
  - name: tmp
    emptyDir: {}
{{- end -}}

{{- define "anymodal.container" -}}
name: anymodal
image: {{ .Values.image }}
envFrom:
  - configMapRef: {name: anymodal}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- /* New settings start new pods. */ -}}
{{- define "anymodal.settings" -}}
checksum/settings: {{ include (print .Template.BasePath "/settings.yaml") . | sha256sum }}
{{- end -}}
