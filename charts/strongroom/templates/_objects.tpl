{{/*
The objects of files/FILE as a JSON list, with the namespace and the labels of the
release: dict "root" $ "file" FILE.
*/}}
{{- define "strongroom.load" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $text := .root.Files.Get (printf "files/%s" .file) | required (printf "the chart lacks files/%s: make generate" .file) -}}
{{- $text = $text | replace "system:serviceaccount:kube-system:" (printf "system:serviceaccount:%s:" $namespace) -}}
{{- $text = $text | replace "request.namespace == 'kube-system'" (printf "request.namespace == '%s'" $namespace) -}}
{{- $text = $text | replace "kube-system/vault-csi-provider-hmac-key" (printf "%s/vault-csi-provider-hmac-key" $namespace) -}}
{{- $text = $text | replace "-n kube-system" (printf "-n %s" $namespace) -}}
{{- $text = $text | replace "daemonset csi-secrets-store`" (printf "daemonset %s`" (include "strongroom.fullname" .root)) -}}
{{- $objects := list -}}
{{- range splitList "\n---\n" $text -}}
  {{- $object := fromYaml . -}}
  {{- if not $object.kind -}}
    {{- fail (printf "files/%s: %v" $.file $object.Error) -}}
  {{- end -}}
  {{- if $object.metadata.namespace -}}
    {{- $_ := set $object.metadata "namespace" $namespace -}}
  {{- end -}}
  {{- range $object.subjects -}}
    {{- $_ := set . "namespace" $namespace -}}
  {{- end -}}
  {{- $_ := set $object.metadata "labels" (include "strongroom.labels" (dict "root" $.root "own" $object.metadata.labels) | fromYaml) -}}
  {{- $objects = append $objects $object -}}
{{- end -}}
{{- toJson $objects -}}
{{- end -}}

{{/*
Objects, one document each.
*/}}
{{- define "strongroom.print" -}}
{{- range . }}
---
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The objects of a file as they are: dict "root" $ "file" FILE.
*/}}
{{- define "strongroom.file" -}}
{{- include "strongroom.print" (include "strongroom.load" . | fromJsonArray) }}
{{- end -}}

{{/*
Labels of an object. Its own ones stay, because selectors look for some of them:
dict "root" $ "own" LABELS.
*/}}
{{- define "strongroom.labels" -}}
{{- $ours := dict
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/name" (.root.Values.nameOverride | default "secrets-store-csi-driver")
  "app.kubernetes.io/part-of" "strongroom"
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- toYaml (merge (dict) (.own | default dict) (.root.Values.commonLabels | default dict) $ours) -}}
{{- end -}}

{{/*
The driver's DaemonSet. The release is not part of its name: a cluster has one driver.
*/}}
{{- define "strongroom.fullname" -}}
{{- $name := "csi-secrets-store" -}}
{{- if .Values.fullnameOverride -}}
  {{- $name = .Values.fullnameOverride -}}
{{- else if .Values.nameOverride -}}
  {{- $name = contains .Values.nameOverride .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Values.nameOverride) -}}
{{- end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
An image: dict "root" $ "image" VALUES.
*/}}
{{- define "strongroom.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/*
Whether linux.image is upstream's, which knows neither our flags nor our files.
*/}}
{{- define "strongroom.upstreamImage" -}}
{{- if regexMatch "(^|/|-)secrets-store/driver$" .Values.linux.image.repository -}}yes{{- end -}}
{{- end -}}

{{/*
Whether the driver fills Secrets, and in which namespaces, as a list of CEL.
*/}}
{{- define "strongroom.syncs" -}}
{{- with .Values.syncSecret -}}
{{- if or .enabled .namespaces .byLabel -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{- define "strongroom.syncNamespaces" -}}
{{- $names := list -}}
{{- range .Values.syncSecret.enabled | ternary (list "*") .Values.syncSecret.namespaces -}}
  {{- $names = append $names (printf "'%s'" .) -}}
{{- end -}}
{{- printf "[%s]" (join ", " $names) -}}
{{- end -}}

{{/*
What the CSIDriver asks kubelet for, as a JSON list: the values, then what providers need.
*/}}
{{- define "strongroom.tokenRequests" -}}
{{- $all := .Values.tokenRequests | default list -}}
{{- $known := list -}}
{{- range $all -}}
  {{- $known = append $known .audience -}}
{{- end -}}
{{- range $name := list "azure" "vault" -}}
  {{- $provider := get $.Values.providers $name -}}
  {{- range ternary $provider.audiences list $provider.enabled -}}
    {{- if not (has . $known) -}}
      {{- $known = append $known . -}}
      {{- $all = append $all (dict "audience" .) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/*
Arguments as a JSON list: dict "args" LIST "set" (what --NAME=VALUE is to be) "more" LIST.
*/}}
{{- define "strongroom.args" -}}
{{- $args := list -}}
{{- $set := .set -}}
{{- range .args -}}
  {{- $name := regexReplaceAll "=.*" . "" -}}
  {{- $args = append $args (hasKey $set $name | ternary (printf "%s=%v" $name (get $set $name)) .) -}}
{{- end -}}
{{- toJson (concat $args .more) -}}
{{- end -}}

{{/*
What driver and providers have in common. Changes a DaemonSet:
dict "root" $ "set" OBJECT "values" VALUES "resources" RESOURCES "annotations" (of pods).
*/}}
{{- define "strongroom.workload" -}}
{{- $values := .values -}}
{{- $template := .set.spec.template -}}
{{- $pod := $template.spec -}}
{{- $container := index $pod.containers 0 -}}
{{- if $values.updateStrategy -}}
  {{- $_ := set .set.spec "updateStrategy" $values.updateStrategy -}}
{{- end -}}
{{- $_ := set $template.metadata "labels" (merge (dict) $template.metadata.labels ($values.podLabels | default dict) (.root.Values.commonLabels | default dict)) -}}
{{- with merge (dict) ($template.metadata.annotations | default dict) ($values.podAnnotations | default dict) (.annotations | default dict) -}}
  {{- $_ := set $template.metadata "annotations" . -}}
{{- end -}}
{{- $_ := set $pod "nodeSelector" (merge (dict) $pod.nodeSelector ($values.nodeSelector | default dict)) -}}
{{- range $key, $value := dict "affinity" $values.affinity "tolerations" $values.tolerations "priorityClassName" $values.priorityClassName "imagePullSecrets" .root.Values.imagePullSecrets -}}
  {{- if $value -}}
    {{- $_ := set $pod $key $value -}}
  {{- else -}}
    {{- $_ := unset $pod $key -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $container "imagePullPolicy" $values.image.pullPolicy -}}
{{- $_ := set $container "resources" (.resources | default dict) -}}
{{- with $values.env -}}
  {{- $_ := set $container "env" (concat . ($container.env | default list)) -}}
{{- end -}}
{{- with $values.volumes -}}
  {{- $_ := set $pod "volumes" (concat $pod.volumes .) -}}
{{- end -}}
{{- with $values.volumeMounts -}}
  {{- $_ := set $container "volumeMounts" (concat $container.volumeMounts .) -}}
{{- end -}}
{{- end -}}

{{/*
A provider's own objects: dict "root" $ "name" (of DaemonSet and ConfigMap) "values"
VALUES "objects" (of its files) "args" (as for strongroom.args).
*/}}
{{- define "strongroom.provider" -}}
{{- $values := .values -}}
{{- range .objects -}}
  {{- if eq .kind "DaemonSet" -}}
    {{- $annotations := dict -}}
    {{- /* The environment is read once; what it comes from is in the template, so that a change starts new pods. */ -}}
    {{- with $values.settings -}}
      {{- $_ := set $annotations "checksum/settings" (toJson . | sha256sum) -}}
    {{- end -}}
    {{- include "strongroom.workload" (dict "root" $.root "set" . "values" $values "resources" $values.resources "annotations" $annotations) -}}
    {{- $pod := .spec.template.spec -}}
    {{- $container := index $pod.containers 0 -}}
    {{- $_ := set $container "image" (include "strongroom.image" (dict "root" $.root "image" $values.image)) -}}
    {{- $_ := set $container "args" (include "strongroom.args" (dict "args" $container.args "set" $.set "more" (concat $.more ($values.extraArgs | default list))) | fromJsonArray) -}}
    {{- range $pod.volumes -}}
      {{- if eq .name "providers-dir" -}}
        {{- $_ := set .hostPath "path" $.root.Values.linux.providersDir -}}
      {{- end -}}
    {{- end -}}
    {{- range $container.ports -}}
      {{- $_ := set . "containerPort" (get $.ports .name | default .containerPort) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range .objects -}}
  {{- if or $.root.Values.rbac.install (ne .kind "ServiceAccount") -}}
    {{- include "strongroom.print" (list .) -}}
  {{- end -}}
{{- end -}}
{{- include "strongroom.configMap" (dict "root" .root "name" .name "data" $values.settings) -}}
{{- end -}}

{{/*
A ConfigMap, if there is something in it: dict "root" $ "name" NAME "data" DATA.
*/}}
{{- define "strongroom.configMap" -}}
{{- if .data }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "strongroom.labels" (dict "root" .root "own" dict) | nindent 4 }}
data:
  {{- range $key, $value := .data }}
  {{- /* A number is a float here, which toString writes as 1e+06. */}}
  {{- if not (kindIs "invalid" $value) }}
  {{ $key }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
