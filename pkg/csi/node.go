package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

type node struct {
	csi.UnimplementedNodeServer
	*Config
}

// NodeGetInfo implements csi.NodeServer.
func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.NodeID}, nil
}

// NodeGetCapabilities implements csi.NodeServer: staging as upstream says it
// (driver-contract 3.3), and VOLUME_MOUNT_GROUP, so that kubelet passes fsGroup on.
func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	capabilities := []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP,
	}
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, c := range capabilities {
		rpc := &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}}
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{Type: rpc})
	}
	return resp, nil
}

// NodeStageVolume implements csi.NodeServer; there is nothing to stage.
func (n *node) NodeStageVolume(_ context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, missing("volume id")
	case req.GetStagingTargetPath() == "":
		return nil, missing("staging target path")
	case req.GetVolumeCapability() == nil:
		return nil, missing("volume capability")
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// NodeUnstageVolume implements csi.NodeServer.
func (n *node) NodeUnstageVolume(_ context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, missing("volume id")
	case req.GetStagingTargetPath() == "":
		return nil, missing("staging target path")
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume implements csi.NodeServer.
func (n *node) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	v, err := volumeOf(req)
	if err != nil {
		n.reject("NodePublishVolume")
		pod, _ := provider.ParseAttributes(req.GetVolumeContext())
		return nil, asStatus(rotation.FailedMount(pod, rotation.VolumeInvalid, err))
	}
	if tokensInContext(req) {
		v.Verify = n.verifyTokens
	}
	if err := n.Volumes.Publish(ctx, v); err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume implements csi.NodeServer.
func (n *node) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := checkUnpublish(req); err != nil {
		n.reject("NodeUnpublishVolume")
		return nil, asStatus(rotation.Failed("unmount the volume at "+req.GetTargetPath(), rotation.VolumeInvalid, err))
	}
	if err := n.Volumes.Unpublish(ctx, provider.VolumeID(req.GetVolumeId()), req.GetTargetPath()); err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// verifyTokens refuses tokens that a pod's author wrote into the volume's attributes:
// where kubelet is not told to put tokens there, nobody else may.
func (n *node) verifyTokens(ctx context.Context) error {
	fromKubelet, err := n.TokensInContext(ctx)
	switch {
	case err != nil:
		return provider.Errorf(provider.Unavailable, "find out who wrote the service account tokens: %w", err)
	case !fromKubelet:
		return provider.Errorf(provider.Invalid, "the volume's attributes have service account tokens that are not kubelet's: "+
			"the CSIDriver object asks for none, or for tokens in secrets (which needs kubelet 1.35)")
	}
	return nil
}

func (n *node) reject(method string) {
	if n.Rejected != nil {
		n.Rejected(method)
	}
}

func missing(what string) error {
	return asStatus(provider.Errorf(provider.Invalid, "%s is missing", what))
}

// asStatus is the one place where kinds become codes for kubelet. Kubelet takes
// Unavailable, ResourceExhausted, DeadlineExceeded and Aborted for "perhaps done":
// it keeps the target directory and unpublishes before it forgets the volume. After
// any other code it removes the directory, which is right as well, since a failed
// publish leaves nothing mounted. It retries all of them with back-off.
func asStatus(err error) error { return status.Error(codeOf(provider.KindOf(err)), err.Error()) }

func codeOf(kind provider.Kind) codes.Code {
	switch kind {
	case provider.Invalid:
		return codes.InvalidArgument
	case provider.NotFound:
		return codes.NotFound
	case provider.Denied:
		return codes.PermissionDenied
	case provider.Unavailable:
		return codes.Unavailable
	case provider.Throttled, provider.TooLarge:
		return codes.ResourceExhausted
	case provider.Timeout:
		return codes.DeadlineExceeded
	case provider.Busy:
		return codes.Aborted
	case provider.Internal:
		return codes.Internal
	case provider.Unknown:
		return codes.Unknown
	}
	return codes.Unknown
}
