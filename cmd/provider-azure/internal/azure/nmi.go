package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/strongroom/strongroom/provider"
)

// nmiHost is where the NMI of pod identity answers who runs in the network of the node.
const nmiHost = "localhost:2579"

// nmi has tokens for one pod. (azure-contract 7f)
type nmi struct {
	pipeline runtime.Pipeline
	url      string
	pod      provider.Pod
}

func newNMI(who *caller, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if who.cloud.resource == "" {
		return nil, fmt.Errorf("the definition of cloud %s lacks keyVaultEndpoint, which is what the NMI gives tokens for", who.cloud.name)
	}
	return &nmi{
		pipeline: runtime.NewPipeline("nmi", "v1", runtime.PipelineOptions{}, &options),
		url:      "http://" + nmiHost + "/host/token/?resource=" + url.QueryEscape(who.cloud.resource),
		pod:      who.asks,
	}, nil
}

// GetToken implements [azcore.TokenCredential]. What the NMI is asked for depends on the
// cloud alone.
func (n *nmi) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (t azcore.AccessToken, err error) {
	req, err := runtime.NewRequest(ctx, http.MethodGet, n.url)
	if err != nil {
		return t, err
	}
	req.Raw().Header.Set("podname", n.pod.Name)
	req.Raw().Header.Set("podns", n.pod.Namespace)
	resp, err := n.pipeline.Do(req)
	if err != nil {
		return t, fmt.Errorf("failed to get a token from the NMI: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it is in memory
	if resp.StatusCode != http.StatusOK {
		return t, explainNMI(resp).failure()
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return t, fmt.Errorf("failed to get a token from the NMI: %w", err)
	}
	if t, err = readNMI(body); err != nil {
		return t, provider.Errorf(provider.Unavailable, "failed to get a token from the NMI: %w", err)
	}
	return t, nil
}

func explainNMI(resp *http.Response) diagnosis {
	d := diagnosis{kind: kindOf(resp.StatusCode), wait: retryAfter(resp)}
	d.outage = passes(d.kind)
	d.text = strings.TrimSpace(fmt.Sprintf("failed to get a token: the NMI answered %d %s", resp.StatusCode, said(resp, "")))
	if !d.outage {
		d.kind = provider.Denied
		d.text += ": give the pod an AzureIdentityBinding, or use workload identity (clientID), since Azure has retired pod identity"
	}
	return d
}

// readNMI never quotes what it could not read. A token that does not say when it ends
// is not kept.
func readNMI(body []byte) (t azcore.AccessToken, err error) {
	var reply struct {
		Token struct {
			AccessToken string          `json:"access_token"`
			ExpiresOn   json.RawMessage `json:"expires_on"`
		} `json:"token"`
		ClientID string `json:"clientid"`
	}
	switch err = json.Unmarshal(body, &reply); {
	case err != nil:
		return t, errors.New("its reply cannot be understood: does something else listen at " + nmiHost + "?")
	case reply.Token.AccessToken == "":
		return t, errors.New("its reply has no access_token")
	case reply.ClientID == "":
		return t, errors.New("its reply has no clientid")
	}
	return azcore.AccessToken{Token: reply.Token.AccessToken, ExpiresOn: expiry(reply.Token.ExpiresOn)}, nil
}

// expiry is seconds as a number or in a string; the past if it is neither.
func expiry(text json.RawMessage) time.Time {
	const most = 1e11 // a year of four digits
	seconds, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err != nil || seconds < 0 || seconds > most {
		seconds = 0
	}
	return time.Unix(seconds, 0)
}
