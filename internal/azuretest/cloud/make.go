package cloud

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// Make makes a key, or a certificate with its key and secret, and puts it into a vault.
func (c *Cloud) Make(ctx context.Context, at Place, recipe Recipe) (string, error) {
	switch at.Kind {
	case Keys:
		key, err := material.NewKey(recipe.Key)
		if err != nil {
			return "", err
		}
		content, err := Key(key.Public(), recipe.HSM)
		if err != nil {
			return "", err
		}
		return c.Put(at, Version{Content: content})
	case Certificates:
		if recipe.Name == "" {
			recipe.Name = at.Name
		}
		certificate, err := recipe.Certificate(ctx)
		if err != nil {
			return "", fmt.Errorf("make %s: %w", at, err)
		}
		return c.PutCertificate(at.Vault, at.Name, certificate)
	default:
		return "", fmt.Errorf("make %s: only keys and certificates can be made", at)
	}
}

// Certificate makes what the recipe says.
func (r Recipe) Certificate(ctx context.Context) (Certificate, error) {
	chain, err := material.NewChain(r.Template)
	if err != nil {
		return Certificate{}, err
	}
	out := Certificate{Chain: chain, Type: r.Type}
	if out.Type == "" {
		out.Type = PFX
	}
	shown := chain
	if r.Order != nil {
		if shown, err = chain.Ordered(r.Order...); err != nil {
			return Certificate{}, err
		}
	}
	if r.Unexportable {
		shown = shown.WithoutKey()
	}
	out.Secret, err = r.secret(ctx, shown)
	return out, err
}

func (r Recipe) secret(ctx context.Context, chain material.Chain) (string, error) {
	var file []byte
	var err error
	switch {
	case r.Type == PEM:
		file, err = chain.PEM()
		return string(file), err
	case r.OpenSSL:
		encryption := r.Encryption
		if encryption == "" {
			encryption = material.TripleDES
		}
		file, err = chain.OpenSSLPFX(ctx, encryption, r.Password)
	default:
		file, err = chain.PFX(r.Encryption, r.Password)
	}
	return base64.StdEncoding.EncodeToString(file), err
}
