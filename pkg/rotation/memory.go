package rotation

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// maxMemory bounds the memory of a volume, in bytes: the kernel's limit for an
// extended attribute.
const maxMemory = 1 << 16

// memory is what a volume remembers across restarts of the driver. It holds no
// value and no token, and is only ever read from where the driver wrote it.
type memory struct {
	Volume          provider.VolumeID `json:"volume"`
	Pod             provider.Pod      `json:"pod"`
	Class           string            `json:"class"`
	ClassUID        string            `json:"classUID"`
	ClassGeneration int64             `json:"classGeneration"`
	// Refresh is the value of the class's refresh annotation.
	Refresh  string             `json:"refresh,omitempty"`
	Provider string             `json:"provider"`
	Versions []provider.Version `json:"versions,omitempty"`
	// Interval and Never are what the class says of rotation.
	Interval time.Duration `json:"interval,omitempty"`
	Never    bool          `json:"never,omitempty"`
	// Secrets names those that the class wants filled.
	Secrets []string `json:"secrets,omitempty"`
	// Unfilled says that they may still hold what the volume held before.
	Unfilled bool `json:"unfilled,omitempty"`
	// Fetched is when the last fetch began that succeeded.
	Fetched time.Time `json:"fetched"`
	// Served is when the content was read, if the store did not answer then and the
	// provider served what it had.
	Served time.Time `json:"served,omitzero"`
	// Changed is when something that is recorded changed.
	Changed time.Time `json:"changed"`
	// Expires is when the content stops being valid at the store; Told is the value of
	// it that an event was made for.
	Expires time.Time `json:"expires,omitzero"`
	Told    time.Time `json:"told,omitzero"`
	// Ready and Synced are the conditions as they are to be recorded.
	Ready  Condition `json:"ready,omitzero"`
	Synced Condition `json:"synced,omitzero"`
	// Due is when the provider wants to be asked again; zero if it does not say.
	Due time.Time `json:"due,omitzero"`
	// Recorded says that the cluster knows what is mounted.
	Recorded bool `json:"recorded"`
	// Known says that the record exists, if perhaps not as it should be.
	Known bool `json:"known,omitempty"`
	// Truncated says that versions did not fit: they are unknown, not none.
	Truncated bool `json:"truncated,omitempty"`
}

// encode leaves out versions that do not fit: the record of such a volume is not
// resumed after a restart.
func (m memory) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err == nil && len(text) > maxMemory {
		m.Versions, m.Truncated = nil, true
		text, err = json.Marshal(m)
	}
	if err != nil {
		return nil, fmt.Errorf("encode what volume %s remembers: %w", m.Volume, err)
	}
	return text, nil
}

// recall reads the memory of what was found; ok is false if there is none.
func recall(f Found) (m memory, ok bool) {
	if f.State != Complete || len(f.Memory) == 0 || json.Unmarshal(f.Memory, &m) != nil {
		return memory{}, false
	}
	return m, true
}

// unfinished says whether the record is still to be written, and can be.
func (m memory) unfinished() bool { return !m.Recorded && !m.Truncated }

func (m memory) snapshot(target string) Snapshot {
	s := Snapshot{Target: target, Volume: m.Volume, Pod: m.Pod, Class: m.Class, Versions: m.Versions, Changed: m.Changed, Known: m.Known}
	for _, c := range []Condition{m.Ready, m.Synced} {
		if c.Type != "" {
			s.Conditions = append(s.Conditions, c)
		}
	}
	return s
}

// read is when the store was asked for the content.
func (m memory) read() time.Time {
	if m.Served.IsZero() || m.Served.After(m.Fetched) {
		return m.Fetched
	}
	return m.Served
}

func (m memory) className() ClassName { return ClassName{m.Pod.Namespace, m.Class} }

// unsynced says whether nobody tried yet to fill the Secrets that are asked for.
func (m memory) unsynced() bool { return len(m.Secrets) > 0 && m.Synced.Type == "" }

// isFrom says whether the content was fetched by this state of the class.
func (m memory) isFrom(uid string, generation int64) bool {
	return m.ClassUID == uid && m.ClassGeneration == generation
}

// fillsLike says whether Secrets get from m what they get from another content. One of
// the same versions may differ all the same; the next repeat finds that.
func (m memory) fillsLike(other memory) bool {
	return m.isFrom(other.ClassUID, other.ClassGeneration) && slices.Equal(m.Versions, other.Versions)
}

// plan is what the schedule needs to know.
func (m memory) plan() plan {
	p := plan{
		provider: m.Provider, class: m.className(), account: m.Pod.ServiceAccount,
		interval: m.Interval, never: m.Never, fetched: m.Fetched,
	}
	if !m.Due.IsZero() {
		p.lease = m.Due.Sub(m.Fetched)
	}
	return p
}
