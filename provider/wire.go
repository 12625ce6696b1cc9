package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/strongroom/strongroom/provider/v1alpha1"
)

// Keys that kubelet and the driver set among the attributes. (driver-contract 3.4)
const (
	csiPrefix         = "csi.storage.k8s.io/"
	keyPodName        = csiPrefix + "pod.name"
	keyPodNamespace   = csiPrefix + "pod.namespace"
	keyPodUID         = csiPrefix + "pod.uid"
	keyServiceAccount = csiPrefix + "serviceAccount.name"
	keyEphemeral      = csiPrefix + "ephemeral"
	keyTokens         = csiPrefix + "serviceAccount.tokens"
	keyClass          = "secretProviderClass"
)

// TokensKey is the key under which kubelet passes the pod's service account
// tokens, among the volume context or among the secrets of a publish call.
const TokensKey = keyTokens

// ParseAttributes finds the pod and the name of the class among the attributes that
// kubelet makes of a volume.
func ParseAttributes(attributes map[string]string) (pod Pod, class string) {
	return Pod{
		Name: attributes[keyPodName], Namespace: attributes[keyPodNamespace],
		UID: attributes[keyPodUID], ServiceAccount: attributes[keyServiceAccount],
	}, attributes[keyClass]
}

// wireToken is one value of kubelet's token JSON.
type wireToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expirationTimestamp"`
}

// ParseTokens reads kubelet's JSON of tokens by audience. Empty text is no tokens.
func ParseTokens(text string) (Tokens, error) {
	if text == "" {
		return nil, nil
	}
	var wire map[string]wireToken
	if json.Unmarshal([]byte(text), &wire) != nil { // the error could quote the token
		return nil, Errorf(Invalid, "parse service account tokens: not the JSON object that kubelet makes")
	}
	tokens := make(Tokens, len(wire))
	for audience, t := range wire {
		tokens[audience] = Token{Value: Secret(t.Token), Expires: t.Expires}
	}
	return tokens, nil
}

func encodeTokens(tokens Tokens) (string, error) {
	wire := make(map[string]wireToken, len(tokens))
	for audience, t := range tokens {
		wire[audience] = wireToken{Token: string(t.Value), Expires: t.Expires}
	}
	text, err := json.Marshal(wire)
	return string(text), err
}

// encodeRequest is the driver's side.
func encodeRequest(req *Request) (*v1alpha1.MountRequest, error) {
	attributes, err := encodeAttributes(req)
	if err != nil {
		return nil, err
	}
	secrets, err := encodeSecrets(req.Secrets)
	if err != nil {
		return nil, err
	}
	wire := &v1alpha1.MountRequest{
		Attributes:           attributes,
		Secrets:              secrets,
		TargetPath:           req.TargetPath,
		Permission:           strconv.Itoa(int(req.Mode & modeMask)),
		CurrentObjectVersion: encodeVersions(req.Current),
		VolumeId:             string(req.Volume),
	}
	if !req.NotBefore.IsZero() {
		wire.NotBefore = timestamppb.New(req.NotBefore)
	}
	return wire, nil
}

func encodeAttributes(req *Request) (string, error) {
	attributes := maps.Clone(req.Parameters)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes[keyClass] = req.Class
	attributes[keyPodName] = req.Pod.Name
	attributes[keyPodNamespace] = req.Pod.Namespace
	attributes[keyPodUID] = req.Pod.UID
	attributes[keyServiceAccount] = req.Pod.ServiceAccount
	attributes[keyEphemeral] = "true"
	if len(req.Tokens) > 0 {
		tokens, err := encodeTokens(req.Tokens)
		if err != nil {
			return "", Errorf(Internal, "encode service account tokens")
		}
		attributes[keyTokens] = tokens
	}
	text, err := json.Marshal(attributes)
	if err != nil {
		return "", Errorf(Internal, "encode attributes")
	}
	return string(text), nil
}

func encodeSecrets(secrets map[string]Secret) (string, error) {
	var plain map[string]string // stays nil, and so null, without secrets
	for k, v := range secrets {
		if plain == nil {
			plain = make(map[string]string, len(secrets))
		}
		plain[k] = string(v)
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return "", Errorf(Internal, "encode nodePublishSecretRef")
	}
	return string(text), nil
}

// decodeRequest is the provider's side. No error quotes what it could not read.
func decodeRequest(wire *v1alpha1.MountRequest) (*Request, error) {
	attributes, err := decodeStrings("attributes", wire.GetAttributes())
	if err != nil {
		return nil, err
	}
	secrets, err := decodeStrings("secrets", wire.GetSecrets())
	if err != nil {
		return nil, err
	}
	mode, err := decodePermission(wire.GetPermission())
	if err != nil {
		return nil, err
	}
	tokens, err := decodeTokens(attributes, secrets)
	if err != nil {
		return nil, err
	}
	if err := wire.GetNotBefore().CheckValid(); wire.GetNotBefore() != nil && err != nil {
		return nil, Errorf(Invalid, "parse not_before of the mount request: %w", err)
	}
	pod, class := ParseAttributes(attributes)
	return &Request{
		Pod: pod, Tokens: tokens, Class: class,
		Parameters: parameters(attributes), Secrets: asSecrets(secrets),
		Volume:  volumeID(wire),
		Tells:   wire.GetVolumeId() != "",
		Current: decodeVersions(wire.GetCurrentObjectVersion()),
		Mode:    mode, NotBefore: asTime(wire.GetNotBefore()), TargetPath: wire.GetTargetPath(),
	}, nil
}

// targetForm is where kubelet has the volumes of pods.
var targetForm = regexp.MustCompile(`/pods/([^/]+)/volumes/kubernetes\.io~csi/([^/]+)/mount$`)

// volumeID is what the driver says, or what kubelet makes of the pod and the name of
// the volume, which the target path tells.
func volumeID(wire *v1alpha1.MountRequest) VolumeID {
	if id := wire.GetVolumeId(); id != "" {
		return VolumeID(id)
	}
	parts := targetForm.FindStringSubmatch(wire.GetTargetPath())
	if parts == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(parts[1] + parts[2]))
	return VolumeID("csi-" + hex.EncodeToString(sum[:]))
}

func decodeStrings(what, text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var m map[string]string
	if json.Unmarshal([]byte(text), &m) != nil {
		return nil, Errorf(Invalid, "parse %s of the mount request: not a JSON object from string to string", what)
	}
	return m, nil
}

func decodePermission(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || fs.FileMode(n)&^modeMask != 0 {
		return 0, Errorf(Invalid, "parse permission %.20q of the mount request: want a decimal number from 0 to 511", text)
	}
	return fs.FileMode(n), nil
}

// decodeTokens takes the tokens from the secrets first, where kubelet puts them
// when the CSIDriver says serviceAccountTokenInSecrets, and removes them there.
func decodeTokens(attributes, secrets map[string]string) (Tokens, error) {
	text, ok := secrets[keyTokens]
	if ok {
		delete(secrets, keyTokens)
	} else {
		text = attributes[keyTokens]
	}
	return ParseTokens(text)
}

// IsParameter says whether a volume attribute can be a class parameter: all are,
// but for the keys that kubelet and the driver set.
func IsParameter(key string) bool {
	return key != keyClass && !strings.HasPrefix(key, csiPrefix)
}

func parameters(attributes map[string]string) map[string]string {
	out := make(map[string]string, len(attributes))
	for k, v := range attributes {
		if IsParameter(k) {
			out[k] = v
		}
	}
	return out
}

func asSecrets(plain map[string]string) map[string]Secret {
	if len(plain) == 0 {
		return nil
	}
	out := make(map[string]Secret, len(plain))
	for k, v := range plain {
		out[k] = Secret(v)
	}
	return out
}

func asTime(ts *timestamppb.Timestamp) time.Time {
	if ts == nil {
		return time.Time{}
	}
	return ts.AsTime()
}

func encodeVersions(versions []Version) []*v1alpha1.ObjectVersion {
	out := make([]*v1alpha1.ObjectVersion, 0, len(versions))
	for _, v := range versions {
		out = append(out, &v1alpha1.ObjectVersion{Id: v.ID, Version: v.Version})
	}
	return out
}

// decodeVersions sorts by id; of equal ids the last one counts. (driver-contract 2.1)
func decodeVersions(wire []*v1alpha1.ObjectVersion) []Version {
	byID := make(map[string]string, len(wire))
	for _, v := range wire {
		byID[v.GetId()] = v.GetVersion()
	}
	out := make([]Version, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, Version{ID: id, Version: byID[id]})
	}
	return out
}

// encodeResponse is the provider's side; a file without a mode gets the default.
func encodeResponse(resp *Response, mode fs.FileMode) (*v1alpha1.MountResponse, error) {
	files := slices.Clone(resp.Files)
	for i := range files {
		if files[i].Mode == 0 {
			files[i].Mode = mode
		}
	}
	if err := checkResponse(files, resp.Versions, resp.Empty); err != nil {
		return nil, err
	}
	wire := &v1alpha1.MountResponse{ObjectVersion: encodeVersions(resp.Versions), Empty: resp.Empty}
	for _, f := range files {
		wire.Files = append(wire.Files, &v1alpha1.File{Path: f.Path, Mode: int32(f.Mode), Contents: f.Contents}) //nolint:gosec // checked: within 0777
	}
	if resp.Refresh > 0 {
		wire.RefreshAfter = durationpb.New(resp.Refresh)
	}
	if !resp.Expires.IsZero() {
		wire.ExpiresAt = timestamppb.New(resp.Expires)
	}
	if !resp.Stale.IsZero() {
		wire.Stale = timestamppb.New(resp.Stale)
	}
	return wire, nil
}

// decodeResponse is the driver's side: it trusts nothing.
func decodeResponse(wire *v1alpha1.MountResponse) (*Response, error) {
	if code := wire.GetError().GetCode(); code != "" {
		return nil, &Error{Kind: Unknown, Reason: code, Err: errors.New("the provider answered with error code " + strconv.Quote(clip(code, 200)))}
	}
	if err := wire.GetExpiresAt().CheckValid(); wire.GetExpiresAt() != nil && err != nil {
		return nil, Errorf(Invalid, "the provider answered with an impossible time of expiry: %w", err)
	}
	if err := wire.GetStale().CheckValid(); wire.GetStale() != nil && err != nil {
		return nil, Errorf(Invalid, "the provider answered with an impossible time of its last read: %w", err)
	}
	resp := &Response{
		Versions: decodeVersions(wire.GetObjectVersion()), Empty: wire.GetEmpty(),
		Expires: asTime(wire.GetExpiresAt()), Stale: asTime(wire.GetStale()),
	}
	if after := wire.GetRefreshAfter(); after != nil {
		resp.Refresh = max(0, after.AsDuration())
	}
	for _, f := range wire.GetFiles() {
		if f.GetMode() < 0 {
			return nil, Errorf(Invalid, "file %q: mode %d is not within 0 to 0777", f.GetPath(), f.GetMode())
		}
		mode := fs.FileMode(f.GetMode()) //nolint:gosec // not negative
		resp.Files = append(resp.Files, File{Path: f.GetPath(), Mode: mode, Contents: f.GetContents()})
	}
	return resp, checkResponse(resp.Files, resp.Versions, resp.Empty)
}

func checkResponse(files []File, versions []Version, empty bool) error {
	switch {
	case len(versions) == 0 && !empty:
		return Errorf(Invalid, "the provider answered without object versions")
	case len(files) == 0 && !empty:
		return Errorf(Invalid, "the provider answered without files: "+
			"providers that write files themselves are not supported, and an empty volume must be declared")
	case len(files) > 0 && empty:
		return Errorf(Invalid, "the provider answered with files for a volume that it declares empty")
	}
	return CheckFiles(files)
}
