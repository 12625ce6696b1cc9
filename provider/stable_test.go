package provider

import (
	"errors"
	"strings"
	"testing"
)

// What is new in each try is not in the text that kubelet makes events of, on neither
// side of the wire; what tells one cause from another is.
func TestErrorsAreTheSameInEachTry(t *testing.T) {
	t.Parallel()
	const tenant = "8f6c1d2e-0000-4000-8000-1234567890ab"
	for _, tc := range []struct{ text, want string }{
		{
			"AADSTS700016: Application '" + tenant + "' was not found. Trace ID: 1b2c3d4e-5f60-7081-92a3-b4c5d6e7f801 " +
				"Correlation ID: aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee Timestamp: 2026-11-22 17:05:59Z: check clientID",
			"AADSTS700016: Application '" + tenant + "' was not found: check clientID",
		},
		{"access denied, RequestID: 6f1e8e0c-1111-2222-3333-444444444444, api error", "access denied, api error"},
		{`403 Forbidden (x-ms-request-id: 1b2c3d4e-5f60-7081-92a3-b4c5d6e7f801)`, `403 Forbidden ()`},
		{
			"Get \"https://vault:8200/v1/x\": read tcp 10.0.0.5:43210->10.0.0.1:8200: read: connection reset by peer",
			"Get \"https://vault:8200/v1/x\": read tcp 10.0.0.5->10.0.0.1:8200: read: connection reset by peer",
		},
		{"dial tcp [fd00::1]:8200: connect: connection refused", "dial tcp [fd00::1]:8200: connect: connection refused"},
		{"read secret/data/request-id: not found", "read secret/data/request-id: not found"},
	} {
		sent := asStatus(errors.New(tc.text))
		if !strings.HasSuffix(sent.Error(), "desc = "+tc.want) {
			t.Errorf("sent: %v\nwant %s", sent, tc.want)
		}
		if got := stable(tc.text); got != tc.want {
			t.Errorf("received: %s\nwant      %s", got, tc.want)
		}
	}
}

// TestLongErrorsAreCut: what a provider says at length is not searched as a whole.
func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	got := told("request id: 0123456789abcdef0123, " + strings.Repeat("y", 8<<20))
	if len(got) > maxErrorText+100 || strings.Contains(got, "0123456789abcdef") || !strings.HasSuffix(got, "... (8388642 bytes in all)") {
		t.Errorf("%d bytes, %q ... %q", len(got), got[:60], got[len(got)-60:])
	}
}
