//go:build unix

package kube_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// A CronJob runs every minute for three hours, on one node and on another, and keeps
// three Jobs. Drivers are started anew meanwhile, and the content changes. The Secret is
// one and the same all the time, and each run finds what was fetched for it.
func (l secretLab) cronJob(t *testing.T) {
	l.namespace(t, "cron")
	c := newClock()
	minutes := 3 * 60
	if testing.Short() {
		minutes = 60
	}
	nodes := []*driver{l.start(t, "node-1", c), l.start(t, "node-2", c)}
	var uid types.UID
	live := map[string]rotation.Copy{} // by Job
	for minute := range minutes {
		c.add(time.Minute)
		if minute%50 == 49 {
			nodes[minute%2] = l.start(t, []string{"node-1", "node-2"}[minute%2], c)
		}
		job := fmt.Sprintf("job-%d", minute)
		run := copyOf(l.pod(t, "cron", job+"-pod", job), text(minute/40), c.Now())
		nodes[minute%2].fill(t, run)
		live[job] = run
		delete(live, fmt.Sprintf("job-%d", minute-3)) // the history limit
		if err := l.collect(t.Context(), "cron", func(o metav1.OwnerReference) bool {
			_, alive := live[o.Name]
			return !alive
		}); err != nil {
			t.Fatal(err)
		}
		l.holds(t, "cron", "s", text(minute/40))
		secret := l.secret(t, "cron", "s")
		if uid == "" {
			uid = secret.UID
		}
		if secret.UID != uid {
			t.Fatalf("minute %d: another Secret", minute)
		}
	}
	// The CronJob is deleted, and with it the Jobs.
	if err := l.collect(t.Context(), "cron", func(metav1.OwnerReference) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if n := len(l.syncedSecrets(t, "cron")); n != 0 {
		t.Errorf("%d syncedsecrets are left", n)
	}
}
