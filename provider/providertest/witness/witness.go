package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// maxFill is more than a page: a write that was cut short then shows.
const maxFill = 12 << 10

// Claim is what all files of a volume say about themselves, in unison.
type Claim struct {
	// Pod is NAMESPACE/NAME.
	Pod string `json:"pod"`
	UID string `json:"uid"`
	// Generation counts the periods since the epoch: the clock publishes, so that a
	// provider that was killed goes on where it was.
	Generation int64         `json:"generation"`
	Period     time.Duration `json:"period"`
}

// At is the claim of a pod's volume at a time.
func At(now time.Time, period time.Duration, pod, uid string) Claim {
	return Claim{Pod: pod, UID: uid, Generation: now.UnixNano() / int64(period), Period: period}
}

// Began is when the generation was published.
func (c Claim) Began() time.Time { return time.Unix(0, c.Generation*int64(c.Period)) }

// header is the first line of each file.
type header struct {
	Claim

	Files []string `json:"files"`
	Sum   string   `json:"sum"`
}

// ErrIncomplete says that there are not the files which there should be.
var ErrIncomplete = errors.New("is incomplete")

// Files makes the files of a claim, by their names. No two generations have equal files.
func Files(c Claim, names []string) map[string][]byte {
	h := header{Claim: c, Files: slices.Sorted(slices.Values(names))}
	fill := map[string][]byte{}
	for _, name := range names {
		fill[name] = filling(c, name)
	}
	h.Sum = sum(fill)
	line, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings and numbers
	}
	files := map[string][]byte{}
	for name, f := range fill {
		files[name] = slices.Concat(line, []byte("\n"), f)
	}
	return files
}

// Check returns what the files of a volume claim, or says how they are not one whole
// generation. It cannot know whether there is such a pod.
func Check(files map[string][]byte) (Claim, error) {
	var first *header
	fill := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h, rest, err := parse(files[name])
		if err != nil {
			return Claim{}, fmt.Errorf("file %q with %d bytes: %w", name, len(files[name]), err)
		}
		if first == nil {
			first = &h
		}
		if h.Claim != first.Claim {
			return Claim{}, fmt.Errorf("file %q claims %+v, the others claim %+v", name, h.Claim, first.Claim)
		}
		fill[name] = rest
	}
	switch {
	case first == nil:
		return Claim{}, fmt.Errorf("the volume %w: there are no files", ErrIncomplete)
	case first.Generation <= 0 || first.Period <= 0:
		return Claim{}, fmt.Errorf("generation %d of period %s is none", first.Generation, first.Period)
	case !slices.Equal(first.Files, slices.Sorted(maps.Keys(files))):
		return first.Claim, fmt.Errorf("the volume %w: there are the files %q, and it has %q", ErrIncomplete, slices.Sorted(maps.Keys(files)), first.Files)
	case first.Sum != sum(fill):
		return first.Claim, fmt.Errorf("the content of generation %d is not what its sum says", first.Generation)
	}
	return first.Claim, nil
}

func parse(content []byte) (header, []byte, error) {
	var h header
	line, rest, found := bytes.Cut(content, []byte("\n"))
	if !found {
		return h, nil, errors.New("has no first line")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, fmt.Errorf("has no claim in its first line: %w", err)
	}
	return h, rest, nil
}

// filling differs in its bytes from that of any other generation and name, and mostly in
// its length.
func filling(c Claim, name string) []byte {
	seed := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s", c.Pod, c.UID, c.Generation, name))
	source := rand.NewChaCha8(seed)
	fill := make([]byte, 1+source.Uint64()%maxFill)
	_, _ = source.Read(fill) // never fails
	return fill
}

// sum is over all files, so that none can be of another generation.
func sum(fill map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(fill)) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(name))))
		h.Write([]byte(name))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(fill[name]))))
		h.Write(fill[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}
