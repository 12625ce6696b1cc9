package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/provider"
)

// maxErrorText bounds what of Azure's own text gets into an error.
const maxErrorText = 600

// explain says what an error of the SDK means, in Azure's own words where there are any.
func explain(err error) (kind provider.Kind, wait time.Duration, text string) {
	var own *provider.Error
	var refused *azcore.ResponseError
	var login *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &own):
		return own.Kind, own.RetryAfter, err.Error()
	case errors.As(err, &login):
		return explainLogin(login)
	case errors.As(err, &refused):
		kind = kindOf(refused.StatusCode)
		text = fmt.Sprintf("Key Vault answered %d %s", refused.StatusCode, said(refused.RawResponse, refused.ErrorCode))
		if cure := cureFor(text); cure != "" {
			text += ": " + cure
		}
		return kind, retryAfter(refused.RawResponse), text
	case errors.Is(err, context.DeadlineExceeded):
		return provider.Timeout, 0, "no time was left: " + oneLine(err.Error())
	case errors.Is(err, errIncomplete):
		return provider.Invalid, 0, err.Error()
	}
	return provider.Unavailable, 0, oneLine(err.Error())
}

// explained is an error with all that there is to say about it.
func explained(err error) error {
	if err == nil {
		return nil
	}
	kind, wait, text := explain(err)
	return &provider.Error{Kind: kind, RetryAfter: wait, Err: errors.New(text)}
}

// loginFailure is an error of the login, which the SDK does not try again: it has done
// so already.
type loginFailure struct{ error }

// Unwrap returns what is wrong.
func (e *loginFailure) Unwrap() error { return e.error }

// NonRetriable is how the SDK knows.
func (*loginFailure) NonRetriable() {}

func explainLogin(err *azidentity.AuthenticationFailedError) (kind provider.Kind, wait time.Duration, text string) {
	if err.RawResponse == nil {
		return provider.Unavailable, 0, "failed to get a token: " + oneLine(err.Error())
	}
	kind = kindOf(err.RawResponse.StatusCode)
	if kind == provider.Invalid || kind == provider.NotFound {
		kind = provider.Denied
	}
	text = fmt.Sprintf("failed to get a token: %d %s", err.RawResponse.StatusCode, said(err.RawResponse, ""))
	if cure := cureFor(text); cure != "" {
		text += ": " + cure
	}
	return kind, retryAfter(err.RawResponse), text
}

// said is the code and message of a reply; never its whole body.
func said(resp *http.Response, code string) string {
	if resp == nil || resp.Body == nil {
		return code
	}
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return code
	}
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
		return oneLine(strings.TrimSpace(vault.Error.Code + " " + vault.Error.InnerError.Code + ": " + vault.Error.Message))
	}
	var directory struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &directory) == nil && directory.Error != "" {
		return oneLine(directory.Error + ": " + directory.Description)
	}
	return code
}

// cureFor says what to do about what Azure says; "" if nothing is known.
func cureFor(text string) string {
	for _, c := range []struct{ said, cure string }{
		{"AADSTS7000215", "the client secret in the Secret that nodePublishSecretRef names is wrong or has expired: make a new one"},
		{"AADSTS70021", "add a federated credential to the application for the subject system:serviceaccount:NAMESPACE:NAME and the cluster's issuer"},
		{"AADSTS700016", "check clientID and tenantID of the class: the tenant does not know the application"},
		{"AADSTS90002", "check tenantID of the class: there is no such tenant"},
		{"SecretDisabled", "enable the version in the vault, or name another one"},
		{"ForbiddenByFirewall", "let the node's address, or a private endpoint, through the firewall of the vault"},
		{"ForbiddenByPolicy", "give the identity the right to get (and list, for a history) in the access policies of the vault"},
		{"ForbiddenByRbac", "give the identity the role Key Vault Secrets User (or Certificate User, Crypto User) at the vault"},
		{"NotFound", "create the object in the vault, or correct objectName"},
	} {
		if strings.Contains(text, c.said) {
			return c.cure
		}
	}
	return ""
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

func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
