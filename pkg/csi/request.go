package csi

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// keyProviderName is a key of the volume context, of old, without a meaning.
// (driver-contract 3.4)
const keyProviderName = "providerName"

// volumeOf checks a publish call and translates it. Every error is of kind Invalid.
func volumeOf(req *csi.NodePublishVolumeRequest) (rotation.Volume, error) {
	if err := checkPublish(req); err != nil {
		return rotation.Volume{}, err
	}
	context := req.GetVolumeContext()
	tokens, secrets, err := credentials(req)
	if err != nil {
		return rotation.Volume{}, err
	}
	gid, err := groupOf(req.GetVolumeCapability())
	if err != nil {
		return rotation.Volume{}, err
	}
	pod, class := provider.ParseAttributes(context)
	v := rotation.Volume{
		ID:     provider.VolumeID(req.GetVolumeId()),
		Target: req.GetTargetPath(),
		Pod:    pod,
		Class:  class, Attributes: attributesOf(context),
		Secrets: secrets, Tokens: tokens, GID: gid,
	}
	return v, checkIdentity(v)
}

func checkPublish(req *csi.NodePublishVolumeRequest) error {
	context := req.GetVolumeContext()
	pod, class := provider.ParseAttributes(context)
	var what string
	switch {
	case req.GetVolumeCapability() == nil:
		what = "volume capability is missing"
	case req.GetVolumeId() == "":
		what = "volume id is missing"
	case req.GetTargetPath() == "":
		what = "target path is missing"
	case !filepath.IsAbs(req.GetTargetPath()) || filepath.Clean(req.GetTargetPath()) != req.GetTargetPath():
		what = "target path " + strconv.Quote(req.GetTargetPath()) + " is not absolute and clean"
	case len(context) == 0:
		what = "volume context is missing"
	case class == "":
		what = "volume attribute secretProviderClass is missing: set it in the pod's volume to the name of a SecretProviderClass"
	case pod.Name == "" || pod.Namespace == "" || pod.UID == "":
		what = "the pod's name, namespace or UID is missing: the CSIDriver object must have podInfoOnMount: true"
	case !req.GetReadonly():
		what = "the volume must be read-only: set readOnly: true on the pod's csi volume"
	default:
		return nil
	}
	return provider.Errorf(provider.Invalid, "%s", what)
}

func checkUnpublish(req *csi.NodeUnpublishVolumeRequest) error {
	switch {
	case req.GetVolumeId() == "":
		return provider.Errorf(provider.Invalid, "volume id is missing")
	case req.GetTargetPath() == "":
		return provider.Errorf(provider.Invalid, "target path is missing")
	case !filepath.IsAbs(req.GetTargetPath()) || filepath.Clean(req.GetTargetPath()) != req.GetTargetPath():
		return provider.Errorf(provider.Invalid, "target path %q is not absolute and clean", req.GetTargetPath())
	}
	return nil
}

var targetForm = regexp.MustCompile(`/pods/([^/]+)/volumes/kubernetes\.io~csi/([^/]+)/mount$`)

// checkIdentity refuses a volume whose pod is not the one that kubelet made the
// target for: where podInfoOnMount is off, a pod's author could claim to be another.
func checkIdentity(v rotation.Volume) error {
	part := targetForm.FindStringSubmatch(v.Target)
	if part == nil {
		return provider.Errorf(provider.Invalid, "target path %q is not that of a pod's CSI volume", v.Target)
	}
	uid, volumeName := part[1], part[2]
	if uid != v.Pod.UID {
		return provider.Errorf(provider.Invalid, "the pod's UID %q does not agree with the target path %q: "+
			"the CSIDriver object must have podInfoOnMount: true", v.Pod.UID, v.Target)
	}
	if v.ID != handle(uid, volumeName) {
		return provider.Errorf(provider.Invalid, "volume id %q is not that of volume %q of pod %s", v.ID, volumeName, uid)
	}
	return nil
}

// handle is the id that kubelet makes for an inline volume.
func handle(podUID, volumeName string) provider.VolumeID {
	sum := sha256.Sum256([]byte(podUID + volumeName))
	return provider.VolumeID("csi-" + hex.EncodeToString(sum[:]))
}

// credentials takes the tokens out of the secrets, where kubelet puts them if the
// CSIDriver says so, else from the volume context.
func credentials(req *csi.NodePublishVolumeRequest) (provider.Tokens, map[string]provider.Secret, error) {
	var secrets map[string]provider.Secret
	text, inSecrets := req.GetSecrets()[provider.TokensKey]
	if !inSecrets {
		text = req.GetVolumeContext()[provider.TokensKey]
	}
	for k, v := range req.GetSecrets() {
		if k == provider.TokensKey {
			continue
		}
		if secrets == nil {
			secrets = map[string]provider.Secret{}
		}
		secrets[k] = provider.Secret(v)
	}
	tokens, err := provider.ParseTokens(text)
	return tokens, secrets, err
}

// tokensInContext says whether the tokens are those of the volume context, which a
// pod's author can write.
func tokensInContext(req *csi.NodePublishVolumeRequest) bool {
	_, inSecrets := req.GetSecrets()[provider.TokensKey]
	return !inSecrets && req.GetVolumeContext()[provider.TokensKey] != ""
}

func attributesOf(context map[string]string) map[string]string {
	var attributes map[string]string
	for k, v := range context {
		if !provider.IsParameter(k) || k == keyProviderName {
			continue
		}
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes[k] = v
	}
	return attributes
}

func groupOf(capability *csi.VolumeCapability) (int, error) {
	text := capability.GetMount().GetVolumeMountGroup()
	if text == "" {
		return rotation.NoGroup, nil
	}
	gid, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, provider.Errorf(provider.Invalid, "volume mount group %q is not a group id", text)
	}
	return int(gid), nil
}
