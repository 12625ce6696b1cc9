package vault

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// maxFiles bounds the content of one volume.
const maxFiles = 16 << 20

// Mount implements [provider.Provider].
func (p *Provider) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	class, err := vaultclass.Parse(req.Parameters)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	p.logOnce(ctx, req, class.Warnings)
	s, err := p.openSession(ctx, req, class)
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	replies, err := s.readAll(ctx, class.Objects)
	if err != nil {
		return nil, provider.At(provider.Reading, err)
	}
	for path, r := range replies {
		p.logOnce(ctx, req, r.warningsFrom(path))
	}
	return p.render(class.Objects, replies, req.Mode)
}

// render makes the files and versions, in the order of the class.
func (p *Provider) render(objects []vaultclass.Object, replies replies, mode fs.FileMode) (*provider.Response, error) {
	resp := &provider.Response{}
	total := 0
	for i := range objects {
		o := &objects[i]
		content, err := replies[o.Read].render(o)
		if err != nil {
			return nil, fmt.Errorf("object %q: %w", o.Name, err)
		}
		if total += len(content); total > maxFiles {
			return nil, provider.Errorf(provider.TooLarge, "object %q: the files of the volume exceed %d bytes", o.Name, maxFiles)
		}
		version, err := versionOf(p.versionKey, o, content)
		if err != nil {
			return nil, fmt.Errorf("object %q: %w", o.Name, err)
		}
		resp.Files = append(resp.Files, provider.File{Path: o.Name, Mode: modeOf(o, mode), Contents: content})
		resp.Versions = append(resp.Versions, provider.Version{ID: o.Name, Version: version})
	}
	return resp, nil
}

func modeOf(o *vaultclass.Object, otherwise fs.FileMode) fs.FileMode {
	if o.Mode != 0 {
		return o.Mode
	}
	return otherwise
}

func (p *Provider) logOnce(ctx context.Context, req *provider.Request, warnings []string) {
	for _, w := range warnings {
		if p.seen.first(req.Pod.Namespace + "/" + req.Class + "/" + w) {
			p.log.LogAttrs(ctx, slog.LevelWarn, w,
				slog.String("namespace", req.Pod.Namespace), slog.String("class", req.Class))
		}
	}
}
