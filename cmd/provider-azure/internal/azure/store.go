package azure

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

// vault is a Key Vault as one identity sees it.
type vault struct {
	secrets *azsecrets.Client
	keys    *azkeys.Client
	certs   *azcertificates.Client
	pace    *pace
	meter   *meter
	log     *slog.Logger
	url     string
	client  string // id of the identity, "" if that is the machine's own

	mu  sync.Mutex
	met map[string]*meeting // of each kind
}

// maxMeeting bounds how long others wait for the first request.
const maxMeeting = 3 * time.Second

// meeting is where the requests of a kind wait for the first one, which ends it. Of a
// request that is not the first it is nil.
type meeting struct {
	over chan struct{}
	held atomic.Bool // the first is a refresh that waits for its turn
}

func (m *meeting) begin() {
	if m != nil {
		m.held.Store(false)
	}
}

func (m *meeting) end() {
	if m != nil {
		close(m.over)
	}
}

// meet lets the first request of a kind go ahead: from its answer the SDK learns where
// to get tokens, which each of the others would ask for, too. A request is one of a
// refresh until ahead is closed; the others do not wait for one that waits for its turn,
// but are the first ones then. It returns nil if the caller is not.
func (v *vault) meet(ctx context.Context, kind string, ahead <-chan struct{}) *meeting {
	timer := time.NewTimer(maxMeeting)
	defer timer.Stop()
	for {
		hurry := isClosed(ahead)
		first, mine := v.first(kind, hurry)
		if mine {
			return first
		}
		if hurry { // it is already
			ahead = nil
		}
		select {
		case <-ahead:
			continue
		case <-first.over:
		case <-timer.C:
		case <-ctx.Done():
		}
		return nil
	}
}

// first returns the meeting of a kind, and whether it is the caller's own.
func (v *vault) first(kind string, hurry bool) (found *meeting, mine bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if found = v.met[kind]; found == nil || hurry && found.held.Load() {
		found, mine = &meeting{over: make(chan struct{})}, true
		found.held.Store(!hurry)
		v.met[kind] = found
	}
	return found, mine
}

func isClosed(ahead <-chan struct{}) bool {
	select {
	case <-ahead:
		return true
	default:
		return false
	}
}

// bundle is what was read of one version of an object.
type bundle struct {
	version     string
	value       string // of a secret
	contentType string
	backed      bool // the secret is that of a certificate
	key         *azkeys.JSONWebKey
	cert        []byte // DER
	versions    []listed
	began       time.Time
}

// size is about how much memory a bundle takes.
func (b *bundle) size() int {
	const most = 1 << 10 // of a key, or of what holds the parts together
	return most + len(b.value) + len(b.cert) + len(b.versions)*100
}

// newVault makes the clients of a vault. It needs p.mu.
func (p *Provider) newVault(url string, s *session) (v *vault, err error) {
	v = &vault{pace: p.paceOf(url), meter: p.meter, log: p.log, url: url, client: s.identity.clientID, met: map[string]*meeting{}}
	options := p.options()
	options.Cloud = s.identity.cloud.config()
	// The SDK's own version of the API is newer than some clouds.
	options.APIVersion = p.apiVersion
	options.Retry = policy.RetryOptions{
		MaxRetries: 3, TryTimeout: tryTimeout, RetryDelay: 800 * time.Millisecond, MaxRetryDelay: maxPause,
		// Not 429: the pace tries that again, for all who wait.
		StatusCodes: []int{
			http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		},
	}
	host := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/"), ":443")
	options.PerRetryPolicies = []policy.Policy{watcher{by: byVault, host: host, meter: p.meter, seen: v.pace.seen}}
	if v.secrets, err = azsecrets.NewClient(url, s.credential, &azsecrets.ClientOptions{ClientOptions: options}); err != nil {
		return nil, err
	}
	if v.keys, err = azkeys.NewClient(url, s.credential, &azkeys.ClientOptions{ClientOptions: options}); err != nil {
		return nil, err
	}
	v.certs, err = azcertificates.NewClient(url, s.credential, &azcertificates.ClientOptions{ClientOptions: options})
	return v, err
}

// tryTimeout bounds one try, so that a vault that hangs is tried again.
const tryTimeout = 20 * time.Second

var errIncomplete = errors.New("the reply of Key Vault lacks the value or the id")

// get makes one request: of a version of an object, "" being the latest, or of the list
// of versions. Its errors can be shared.
func (v *vault) get(ctx context.Context, key readKey) (*bundle, error) {
	began := time.Now()
	b, err := v.request(ctx, key)
	err = explained(err)
	v.tell(ctx, key, time.Since(began), err)
	if err != nil {
		return nil, err
	}
	b.began = began
	return b, nil
}

// tell counts a request, and logs it for those who look for the reason of one.
func (v *vault) tell(ctx context.Context, key readKey, took time.Duration, err error) {
	v.meter.request(key.kind, key.name, took, err)
	if v.log == nil || !v.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	method := "get"
	if key.list {
		method = "list"
	}
	attrs := []slog.Attr{
		slog.String("method", method), slog.String("path", v.url+key.kind+"/"+key.name+"/"+key.version),
		slog.String("client", v.client), slog.Duration("took", took),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	v.log.LogAttrs(ctx, slog.LevelDebug, "key vault", attrs...)
}

func (v *vault) request(ctx context.Context, key readKey) (*bundle, error) {
	if key.list {
		all, err := v.list(ctx, key.kind, key.name)
		return &bundle{versions: all}, err
	}
	switch key.kind {
	case azureclass.Secret:
		return v.secret(ctx, key.name, key.version)
	case azureclass.Key:
		r, err := v.keys.GetKey(ctx, key.name, key.version, nil)
		if err != nil {
			return nil, err
		}
		if r.Key == nil || r.Key.KID == nil {
			return nil, errIncomplete
		}
		return &bundle{version: lastSegment(string(*r.Key.KID)), key: r.Key}, nil
	}
	r, err := v.certs.GetCertificate(ctx, key.name, key.version, nil)
	if err != nil {
		return nil, err
	}
	if r.ID == nil || len(r.CER) == 0 {
		return nil, errIncomplete
	}
	return &bundle{version: lastSegment(string(*r.ID)), cert: r.CER}, nil
}

func (v *vault) secret(ctx context.Context, name, version string) (*bundle, error) {
	r, err := v.secrets.GetSecret(ctx, name, version, nil)
	if err != nil {
		return nil, err
	}
	if r.Value == nil || r.ID == nil {
		return nil, errIncomplete
	}
	b := &bundle{version: lastSegment(string(*r.ID)), value: *r.Value, backed: r.KID != nil}
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

// A list is bounded; a vault holds some hundred versions of an object, 25 on a page.
const (
	maxVersions = 10_000
	maxPages    = 500
)

// list is of the versions that are enabled, the newest first. (azure-contract 5.24)
func (v *vault) list(ctx context.Context, kind, name string) (all []listed, err error) {
	switch kind {
	case azureclass.Secret:
		all, err = pages(ctx, v.pace, v.secrets.NewListSecretPropertiesVersionsPager(name, nil), secretVersions)
	case azureclass.Key:
		all, err = pages(ctx, v.pace, v.keys.NewListKeyPropertiesVersionsPager(name, nil), keyVersions)
	default:
		all, err = pages(ctx, v.pace, v.certs.NewListCertificatePropertiesVersionsPager(name, nil), certVersions)
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

func pages[T any](ctx context.Context, p *pace, pager *runtime.Pager[T], read func(T) []listed) (all []listed, err error) {
	for n := 1; pager.More(); n++ {
		var page T
		next := func(ctx context.Context) (err error) {
			at := *pager // which is of no use any more after an error
			if page, err = at.NextPage(ctx); err == nil {
				*pager = at
			}
			return err
		}
		if n == 1 { // it has a turn already
			err = next(ctx)
		} else {
			err = tried(p.do(ctx, nil, next))
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, read(page)...); len(all) > maxVersions || n >= maxPages && pager.More() {
			return nil, provider.Errorf(provider.Invalid, "the list of the object's versions has more than %d versions, or %d pages: name an objectVersion, "+
				"without objectVersionHistory", maxVersions, maxPages)
		}
	}
	return all, nil
}

func secretVersions(page azsecrets.ListSecretPropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.ID != nil && p.Attributes != nil {
			all = append(all, entry(string(*p.ID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func keyVersions(page azkeys.ListKeyPropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.KID != nil && p.Attributes != nil {
			all = append(all, entry(string(*p.KID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func certVersions(page azcertificates.ListCertificatePropertiesVersionsResponse) (all []listed) {
	for _, p := range page.Value {
		if p != nil && p.ID != nil && p.Attributes != nil {
			all = append(all, entry(string(*p.ID), p.Attributes.Enabled, p.Attributes.Created))
		}
	}
	return all
}

func entry(id string, enabled *bool, created *time.Time) listed {
	l := listed{version: lastSegment(id), created: time.Unix(0, 0), enabled: enabled != nil && *enabled}
	if created != nil {
		l.created = *created
	}
	return l
}
