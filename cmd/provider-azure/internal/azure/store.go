package azure

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/strongroom/strongroom/internal/azureclass"
)

// vault is a Key Vault as one identity sees it.
type vault struct {
	secrets *azsecrets.Client
	keys    *azkeys.Client
	certs   *azcertificates.Client
	pace    *pace
	meter   *meter
}

// bundle is what was read of one version of an object.
type bundle struct {
	version     string
	value       string // of a secret
	contentType string
	backed      bool // the secret is that of a certificate
	key         *azkeys.JSONWebKey
	cert        []byte // DER
	began       time.Time
}

func newVault(url string, c azcore.TokenCredential, options azcore.ClientOptions) (*vault, error) {
	secrets, err := azsecrets.NewClient(url, c, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	keys, err := azkeys.NewClient(url, c, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	certs, err := azcertificates.NewClient(url, c, &azcertificates.ClientOptions{ClientOptions: options})
	return &vault{secrets: secrets, keys: keys, certs: certs}, err
}

// clientOptions are those of all clients. The SDK's own version of the API is newer
// than some clouds.
func clientOptions(where environment, apiVersion string, transport policy.Transporter) azcore.ClientOptions {
	return azcore.ClientOptions{
		APIVersion: apiVersion, Cloud: where.config(), Transport: transport,
		Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: 800 * time.Millisecond, MaxRetryDelay: 10 * time.Second},
	}
}

var errIncomplete = errors.New("the reply of Key Vault lacks the value or the id")

// get reads one version of an object; "" is the latest. Its errors can be shared.
func (v *vault) get(ctx context.Context, kind, name, version string) (bundle, error) {
	began := time.Now()
	b, err := v.read(ctx, kind, name, version)
	err = explained(err)
	v.meter.request(kind, name, time.Since(began), err)
	return b, err
}

func (v *vault) read(ctx context.Context, kind, name, version string) (b bundle, _ error) {
	switch kind {
	case azureclass.Secret:
		return v.secret(ctx, name, version)
	case azureclass.Key:
		r, err := v.keys.GetKey(ctx, name, version, nil)
		if err != nil {
			return b, err
		}
		if r.Key == nil || r.Key.KID == nil {
			return b, errIncomplete
		}
		return bundle{version: lastSegment(string(*r.Key.KID)), key: r.Key}, nil
	}
	r, err := v.certs.GetCertificate(ctx, name, version, nil)
	if err != nil {
		return b, err
	}
	if r.ID == nil || len(r.CER) == 0 {
		return b, errIncomplete
	}
	return bundle{version: lastSegment(string(*r.ID)), cert: r.CER}, nil
}

func (v *vault) secret(ctx context.Context, name, version string) (b bundle, err error) {
	r, err := v.secrets.GetSecret(ctx, name, version, nil)
	if err != nil {
		return b, err
	}
	if r.Value == nil || r.ID == nil {
		return b, errIncomplete
	}
	b = bundle{version: lastSegment(string(*r.ID)), value: *r.Value, backed: r.KID != nil}
	if r.ContentType != nil {
		b.contentType = *r.ContentType
	}
	return b, nil
}

// lastSegment is the version in an id. (azure-contract 5.19)
func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// listed is a version in a list.
type listed struct {
	version string
	created time.Time
	enabled bool
}

// maxVersions bounds a list; a vault holds some hundred versions of an object.
const maxVersions = 10_000

// versions lists the versions that are enabled, the newest first. Its errors can be
// shared. (azure-contract 5.24)
func (v *vault) versions(ctx context.Context, kind, name string) ([]listed, error) {
	began := time.Now()
	all, err := v.list(ctx, kind, name)
	err = explained(err)
	v.meter.request(kind, name, time.Since(began), err)
	return all, err
}

func (v *vault) list(ctx context.Context, kind, name string) (all []listed, err error) {
	switch kind {
	case azureclass.Secret:
		all, err = pages(ctx, v.secrets.NewListSecretPropertiesVersionsPager(name, nil), secretVersions)
	case azureclass.Key:
		all, err = pages(ctx, v.keys.NewListKeyPropertiesVersionsPager(name, nil), keyVersions)
	default:
		all, err = pages(ctx, v.certs.NewListCertificatePropertiesVersionsPager(name, nil), certVersions)
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l listed) bool { return !l.enabled || l.version == "" })
	slices.SortStableFunc(all, func(a, b listed) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.version, b.version))
	})
	return all, nil
}

func pages[T any](ctx context.Context, pager *runtime.Pager[T], read func(T) []listed) (all []listed, err error) {
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		if all = append(all, read(page)...); len(all) > maxVersions {
			return nil, errors.New("the object has too many versions to list")
		}
	}
	return all, nil
}

func secretVersions(page azsecrets.ListSecretPropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.ID != nil && p.Attributes != nil {
			all = append(all, list(string(*p.ID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func keyVersions(page azkeys.ListKeyPropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.KID != nil && p.Attributes != nil {
			all = append(all, list(string(*p.KID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func certVersions(page azcertificates.ListCertificatePropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.ID != nil && p.Attributes != nil {
			all = append(all, list(string(*p.ID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func list(id string, enabled *bool, created *time.Time) listed {
	l := listed{version: lastSegment(id), created: time.Unix(0, 0), enabled: enabled != nil && *enabled}
	if created != nil {
		l.created = *created
	}
	return l
}
