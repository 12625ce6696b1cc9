package azure

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// TestFirstFailure: of several objects that fail the first of the class is told, and
// nobody waits for those after it.
func TestFirstFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		var objects strings.Builder
		objects.WriteString("array:\n")
		for i := range 30 {
			fmt.Fprintf(&objects, "- \"{objectName: s%d, objectType: secret}\"\n", i)
			if i < 3 {
				g.put(t, fmt.Sprintf("s%d", i), "v")
			}
		}
		g.AddFault(cloud.Fault{Where: "vault", Name: "s0", Millis: 5000})
		g.AddFault(cloud.Fault{Where: "vault", Name: "s3", Millis: 2000, Status: 404, Code: "SecretNotFound"})
		g.AddFault(cloud.Fault{Where: "vault", Name: "s6", Hang: true})
		begin := time.Now()
		_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), objects.String())))
		if err == nil || !strings.Contains(err.Error(), "objectName:s3,") {
			t.Error(err)
		}
		// s0 is asked twice: where to log in, and then. What hangs does so for longer.
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if n := g.reads(); n > maxParallel {
			t.Errorf("%d reads, although one of the first had failed", n)
		}
	})
}
