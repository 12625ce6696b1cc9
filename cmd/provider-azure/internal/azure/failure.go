package azure

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/provider"
)

// maxErrorText bounds what of Azure's own text gets into an error.
const maxErrorText = 600

// diagnosis is what an error of the SDK means.
type diagnosis struct {
	kind provider.Kind
	wait time.Duration
	text string
	// outage says that nothing is wrong but that Azure does not answer, or not now.
	outage bool
	// unauthorized says that Key Vault did not take the access token.
	unauthorized bool
}

var errNotUnderstood = errors.New("the reply of Key Vault cannot be understood: does something between the node and the vault answer for it?")

// explain says what an error of the SDK means, in Azure's own words where there are any.
func explain(err error) diagnosis {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return diagnosis{kind: provider.Timeout, text: "no time was left: " + oneLine(err.Error()), outage: true}
	case errors.Is(err, errIncomplete), errors.Is(err, errTooLong):
		return diagnosis{kind: provider.Invalid, text: oneLine(err.Error())}
	case strings.HasPrefix(err.Error(), "unmarshalling type "): // the rest shows numbers and characters of the reply
		return diagnosis{kind: provider.Unavailable, text: errNotUnderstood.Error()}
	}
	if login, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return explainLogin(login)
	}
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return explainAnswer(refused.RawResponse, refused.StatusCode, refused.ErrorCode)
	}
	if _, reply, ok := strings.Cut(err.Error(), noMachineIdentity); ok {
		return explainMachine([]byte(reply))
	}
	text := oneLine(err.Error())
	if strings.Contains(text, challengeMismatch) {
		return diagnosis{kind: provider.Invalid, text: withCure(text)}
	}
	_, network := errors.AsType[net.Error](err)
	return diagnosis{kind: provider.Unavailable, text: withCure(text), outage: network && !isTrust(text)}
}

// challengeMismatch is in what the SDK says of a vault that wants tokens for others.
const challengeMismatch = "challenge resource"

// noMachineIdentity is in what the SDK says if the metadata endpoint answers 400 to who
// asks for the identity of the machine itself. The reply follows.
const noMachineIdentity = "failed to authenticate a system assigned identity. The endpoint responded with "

func explainMachine(reply []byte) diagnosis {
	d := diagnosis{kind: provider.Denied, text: words(reply)}
	if d.text == "" {
		d.kind, d.text = provider.Unavailable, notAzure
	}
	d.text = withCure("failed to get a token: " + metadataHost + " answered 400 " + d.text)
	return d
}

// notAzure is for an answer that says nothing about who asks.
const notAzure = "without a word of Azure's: does something between the node and Azure answer for it?"

// explainAnswer is for what Key Vault says.
func explainAnswer(resp *http.Response, status int, code string) diagnosis {
	d := diagnosis{kind: kindOf(status), wait: retryAfter(resp)}
	d.text = withCure(fmt.Sprintf("Key Vault answered %d %s", status, said(resp, code)))
	d.outage = passes(d.kind)
	d.unauthorized = status == http.StatusUnauthorized
	return d
}

// isTrust says whether an error is about a certificate; those do not pass by waiting.
func isTrust(text string) bool {
	return strings.Contains(text, "x509: ") || strings.Contains(text, "tls: ")
}

// explainLogin is for what the authority says, or the metadata endpoint.
func explainLogin(err *azidentity.AuthenticationFailedError) diagnosis {
	if err.RawResponse == nil {
		text := oneLine(err.Error())
		kind := provider.Unavailable
		if strings.Contains(text, errNoProof.Error()) {
			kind = provider.Denied
		}
		return diagnosis{kind: kind, text: "failed to get a token: " + withCure(text), outage: kind == provider.Unavailable && !isTrust(text)}
	}
	d := diagnosis{kind: kindOf(err.RawResponse.StatusCode), wait: retryAfter(err.RawResponse)}
	why := said(err.RawResponse, "")
	switch {
	case passes(d.kind):
	case why == "":
		d.kind, why = provider.Unavailable, notAzure
	default:
		d.kind = provider.Denied
	}
	d.outage = d.kind != provider.Denied
	d.text = withCure(strings.TrimSpace(fmt.Sprintf("failed to get a token: %d %s", err.RawResponse.StatusCode, why)))
	return d
}

// outage marks the errors that pass when Azure answers again.
type outage struct{ error }

// Unwrap returns what is wrong.
func (o outage) Unwrap() error { return o.error }

func isOutage(err error) bool {
	_, ok := errors.AsType[outage](err)
	return ok
}

// unauthorized marks the refusal of an access token.
type unauthorized struct{ error }

// Unwrap returns what is wrong.
func (u unauthorized) Unwrap() error { return u.error }

func isUnauthorized(err error) bool {
	_, ok := errors.AsType[unauthorized](err)
	return ok
}

// explained is an error with all that there is to say about it, which can be shared.
func explained(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*provider.Error](err); ok { // of the login, or our own
		return err
	}
	return explain(err).failure()
}

// failure is an error with all that there is to say about it.
func (d diagnosis) failure() error {
	err := errors.New(d.text)
	switch {
	case d.outage:
		err = outage{err}
	case d.unauthorized:
		err = unauthorized{err}
	}
	return &provider.Error{Kind: d.kind, RetryAfter: d.wait, Err: err}
}

// loginFailure is an error of the login, which the SDK does not try again: it has done
// so already.
type loginFailure struct{ error }

// Unwrap returns what is wrong.
func (e *loginFailure) Unwrap() error { return e.error }

// NonRetriable is how the SDK knows.
func (*loginFailure) NonRetriable() {}

// said is the code and message of a reply; never its whole body.
func said(resp *http.Response, code string) string {
	if resp == nil || resp.Body == nil {
		return code
	}
	const most = 64 << 10
	// Not the body itself: the SDK may have read it to its end.
	body, err := runtime.Payload(resp)
	if err != nil || len(body) > most {
		return code
	}
	return cmp.Or(words(body), code)
}

// words are those of Azure's own in a reply, if it is one that Azure makes.
func words(body []byte) string {
	var vault struct {
		Error struct {
			Code       string `json:"code"`
			Message    string `json:"message"`
			InnerError struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &vault) == nil && vault.Error.Code != "" {
		return oneLine(strings.TrimSpace(vault.Error.Code+" "+vault.Error.InnerError.Code) + ": " + vault.Error.Message)
	}
	var directory struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &directory) == nil && directory.Error != "" {
		return oneLine(directory.Error + ": " + directory.Description)
	}
	return ""
}

// withCure adds what to do about what Azure says, where that is known.
func withCure(text string) string {
	for _, c := range []struct{ said, cure string }{
		{"AADSTS7000215", "the client secret in the Secret that nodePublishSecretRef names is wrong or has expired: make a new one"},
		{"AADSTS7000222", "the client secret in the Secret that nodePublishSecretRef names has expired: make a new one"},
		{"AADSTS500011", "check cloudName and tenantID of the class: the tenant does not know the Key Vault of that cloud"},
		{"AADSTS700016", "check clientID and tenantID of the class: the tenant does not know the application"},
		{"AADSTS90002", "check tenantID of the class: there is no such tenant"},
		{"Disabled: ", "enable the version in the vault, or name another one"},
		{"ForbiddenByFirewall", "let the node's address, or a private endpoint, through the firewall of the vault"},
		{"ForbiddenByConnection", "let the vault take connections from the node: allow public access from its address, or make a private endpoint"},
		{"ForbiddenByPolicy", "give the identity the right to get (and list, for a history) in the access policies of the vault"},
		{"ForbiddenByRbac", "give the identity the role Key Vault Secrets User (or Certificate User, Crypto User) at the vault"},
		{"AADSTS700211", "the application has no federated credential for the issuer of this cluster: add one"},
		{"AADSTS700212", "the federated credential of the application must have the audience " + federatedAudience},
		{"AADSTS70021", "add a federated credential to the application for the subject system:serviceaccount:NAMESPACE:NAME and the cluster's issuer"},
		{"AADSTS700024", "the pod's token has expired on its way: check the clocks of the nodes"},
		{"AKV10032", "the tenant of the class is not the one that the vault belongs to: correct tenantID"},
		{"Identity not found", "give the identity to the virtual machine or scale set of the node, or correct userAssignedIdentityID"},
		{nmiHost, "is the NMI of pod identity on the node? Azure has retired it: use workload identity (clientID)"},
		{metadataHost, "is the node a virtual machine of Azure, and has it a managed identity?"},
		{"x509: ", "the certificate is not one that the provider trusts: its container has to know the CA (SSL_CERT_FILE)"},
		{"no such host", "check keyvaultName and cloudName of the class, and the DNS of the node"},
		{challengeMismatch, "keyvaultName and cloudName of the class lead to a host that is no Key Vault of that cloud"},
		{"SecretNotFound", "create the secret in the vault, or correct objectName and objectVersion"},
		{"CertificateNotFound", "create the certificate in the vault, or correct objectName and objectVersion"},
		{"KeyNotFound", "create the key in the vault, or correct objectName and objectVersion"},
		{"NotFound", "create the object in the vault, or correct objectName"},
	} {
		if strings.Contains(text, c.said) {
			return text + ": " + c.cure
		}
	}
	return text
}

func kindOf(status int) provider.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return provider.Denied
	case status == http.StatusNotFound:
		return provider.NotFound
	case status == http.StatusTooManyRequests:
		return provider.Throttled
	case status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return provider.Unavailable
	}
	return provider.Invalid
}

func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 86400))*time.Second, time.Hour)
}

// withoutReply cuts off a reply that the SDK repeats since it is no JSON. It may be that
// of a token, broken or not.
func withoutReply(text string) string {
	for _, before := range []string{"raw message was", "json message bytes were"} {
		if kept, _, ok := strings.Cut(text, before); ok {
			return strings.TrimSpace(kept) + " (the reply is not shown)"
		}
	}
	return text
}

func oneLine(text string) string {
	text = withoutReply(text)
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
