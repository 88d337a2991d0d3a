{{- define "penname.side" -}}
{{- if not (has .Values.side (list "issue" "disclose" "keep")) -}}
{{- fail "side has to be issue, disclose or keep: one release is one side" -}}
{{- end -}}
{{- get (dict "issue" "issuing" "disclose" "disclosing" "keep" "keeping") .Values.side -}}
{{- end -}}

{{- define "penname.image" -}}
{{- if not (contains "@sha256:" .image) -}}
{{- fail (printf "%s has to be an image by its digest, name@sha256:…" .what) -}}
{{- end -}}
{{- .image | quote -}}
{{- end -}}

{{- define "penname.selector" -}}
app.kubernetes.io/name: penname
app.kubernetes.io/component: {{ include "penname.side" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "penname.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "penname.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Else each mount gives the group a right to every file, and a side reads no secret that others may.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
