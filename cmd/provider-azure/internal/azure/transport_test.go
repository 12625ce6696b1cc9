package azure

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/strongroom/strongroom/internal/lostconn"
)

func TestLostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, ok := newTransport().Transport.(*http.Transport)
		if !ok {
			t.Fatal("another transport")
		}
		lostconn.Check(t, transport)
	})
}
