package kube

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What nobody asks for in a day is forgotten, unless it is in use.
func TestForget(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, o, m := newStates(), newOwners(), newMemory[bool]()
	kept, done, err := s.take(t.Context(), "ns/held", now)
	if err != nil {
		t.Fatal(err)
	}
	_, leave, err := s.take(t.Context(), "ns/old", now)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	o.put("pod", metav1.OwnerReference{UID: "u"}, now)
	m.put("ns", true, now.Add(time.Minute))
	if _, ok := m.get("ns", now); !ok {
		t.Error("an answer is forgotten at once")
	}
	later := now.Add(rememberUnused + time.Minute)
	s.sweep(later)
	o.sweep(later)
	m.sweep(later)
	if len(s.all) != 1 || s.all["ns/held"] != kept || len(o.all) != 0 || len(m.answers) != 0 {
		t.Errorf("%d states, %d owners, %d answers", len(s.all), len(o.all), len(m.answers))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = s.take(ended, "ns/held", later); err == nil {
		t.Error("two have the turn")
	}
	done()
	again, done, err := s.take(t.Context(), "ns/held", later)
	if err != nil || again != kept || again.users != 1 {
		t.Errorf("%v, %d users", err, again.users)
	}
	done()
}
