package rotation

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// maxMemory bounds the memory of a volume, in bytes: the kernel's limit for an
// extended attribute.
const maxMemory = 1 << 16

// memory is what a volume remembers across restarts of the driver. It holds no
// value and no token, and is only ever read from where the driver wrote it.
type memory struct {
	Volume          provider.VolumeID  `json:"volume"`
	Pod             provider.Pod       `json:"pod"`
	Class           string             `json:"class"`
	ClassUID        string             `json:"classUID"`
	ClassGeneration int64              `json:"classGeneration"`
	Provider        string             `json:"provider"`
	Versions        []provider.Version `json:"versions,omitempty"`
	// Fetched is when the fetch of the content began.
	Fetched time.Time `json:"fetched"`
	// Due is when the provider wants to be asked again; zero if it does not say.
	Due time.Time `json:"due,omitzero"`
	// Recorded says that the cluster knows what is mounted.
	Recorded bool `json:"recorded"`
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
	return Snapshot{Target: target, Volume: m.Volume, Pod: m.Pod, Class: m.Class, Versions: m.Versions, Fetched: m.Fetched}
}
