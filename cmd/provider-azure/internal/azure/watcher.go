package azure

import (
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/provider"
)

// watcher sees every answer of Azure, also those after which the SDK tries again.
type watcher struct {
	by    string
	host  string // of the vault; "" for any
	meter *meter
	seen  func(resp *http.Response, sent time.Time)
}

// Do implements [policy.Policy].
func (w watcher) Do(req *policy.Request) (*http.Response, error) {
	host := strings.TrimSuffix(req.Raw().URL.Host, ":443") // as Azure does in the address of a next page
	if w.host != "" && !strings.EqualFold(host, w.host) {  // which could be anywhere
		return nil, &loginFailure{provider.Errorf(provider.Invalid, "the vault %s sends its client to another host: the token is not for that", w.host)}
	}
	sent := time.Now()
	resp, err := req.Next()
	if resp == nil {
		return resp, err
	}
	w.meter.answered(w.by, resp.StatusCode)
	w.seen(resp, sent)
	checkChallenge(resp)
	return resp, err
}

// checkChallenge drops a challenge that the SDK would panic at.
func checkChallenge(resp *http.Response) {
	const header = "WWW-Authenticate"
	for part := range strings.FieldsSeq(resp.Header.Get(header)) {
		value, ok := strings.CutPrefix(part, "authorization=")
		if value = strings.Trim(value, "\","); ok && value != "" && strings.Count(value, "/") < 3 {
			resp.Header.Del(header)
			return
		}
	}
}
