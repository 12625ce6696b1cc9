package cloud

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Counters is what the cloud was asked since the start or since ClearCounters.
type Counters struct {
	// Discoveries are reads of OpenID configurations.
	Discoveries int `json:"discoveries"`
	// Tokens and Refused are by client id, of the authority; MetadataTokens are those
	// that the machine's metadata endpoint gave, and MetadataRefused those it did not.
	Tokens          map[string]int `json:"tokens"`
	Refused         map[string]int `json:"refused"`
	MetadataTokens  map[string]int `json:"metadataTokens"`
	MetadataRefused map[string]int `json:"metadataRefused"`
	// ProxyTokens and ProxyRefused are by client id, of the cluster's token proxy; Lookups
	// are connections to its API server.
	ProxyTokens  map[string]int `json:"proxyTokens"`
	ProxyRefused map[string]int `json:"proxyRefused"`
	Lookups      int            `json:"lookups"`
	// NMITokens and NMIRefused are by pod, as NAMESPACE/NAME.
	NMITokens  map[string]int `json:"nmiTokens"`
	NMIRefused map[string]int `json:"nmiRefused"`
	// Challenges are requests without a token, by vault.
	Challenges map[string]int `json:"challenges"`
	// Throttled are answers 429 of a quota, by vault. They are in Reads, or in Challenges,
	// too.
	Throttled map[string]int `json:"throttled"`
	// Peak is how many requests were in a vault at once, at most.
	Peak map[string]int `json:"peak"`
	// Reads are requests with a token.
	Reads []Reads `json:"reads"`
}

// Read is a kind of request that a vault has answered.
type Read struct {
	Vault  string `json:"vault"`
	Client string `json:"client"`
	// Op is get or list; a page is a list.
	Op   string `json:"op"`
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Version is empty for the latest.
	Version string `json:"version,omitempty"`
	// Status is zero if the connection was cut or the client did not wait.
	Status int `json:"status"`
}

// Reads are equal requests.
type Reads struct {
	Read
	Count int `json:"count"`
}

// Count adds up the reads that fit: empty fields of like fit everything.
func (c Counters) Count(like Read) int {
	total := 0
	for _, read := range c.Reads {
		if read.fits(like) {
			total += read.Count
		}
	}
	return total
}

func (r Read) fits(like Read) bool {
	fits := func(have, want string) bool { return want == "" || strings.EqualFold(have, want) }
	return fits(r.Vault, like.Vault) && fits(r.Client, like.Client) && fits(r.Op, like.Op) && fits(string(r.Kind), string(like.Kind)) &&
		fits(r.Name, like.Name) && fits(r.Version, like.Version) && (like.Status == 0 || like.Status == r.Status)
}

// tally is what Counters is made of. The lock of the cloud guards it.
type tally struct {
	Counters
	reads map[Read]int
}

func newTally() tally {
	return tally{
		Counters: Counters{
			Tokens: map[string]int{}, Refused: map[string]int{}, MetadataTokens: map[string]int{}, MetadataRefused: map[string]int{},
			ProxyTokens: map[string]int{}, ProxyRefused: map[string]int{}, NMITokens: map[string]int{}, NMIRefused: map[string]int{},
			Challenges: map[string]int{}, Throttled: map[string]int{}, Peak: map[string]int{},
		},
		reads: map[Read]int{},
	}
}

// Counters are those of now.
func (c *Cloud) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	counters := c.tally.Counters
	for _, counted := range []*map[string]int{
		&counters.Tokens, &counters.Refused, &counters.MetadataTokens, &counters.MetadataRefused, &counters.ProxyTokens,
		&counters.ProxyRefused, &counters.NMITokens, &counters.NMIRefused, &counters.Challenges, &counters.Throttled, &counters.Peak,
	} {
		*counted = maps.Clone(*counted)
	}
	counters.Reads = make([]Reads, 0, len(c.tally.reads))
	for read, count := range c.tally.reads {
		counters.Reads = append(counters.Reads, Reads{Read: read, Count: count})
	}
	slices.SortFunc(counters.Reads, func(a, b Reads) int {
		return cmp.Or(cmp.Compare(a.Vault, b.Vault), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Version, b.Version), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Status, b.Status))
	})
	return counters
}

// ClearCounters starts anew.
func (c *Cloud) ClearCounters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally = newTally()
}

func (c *Cloud) countToken(client string, given bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oneMore(c.tally.Tokens, c.tally.Refused, client, given)
}

func oneMore(tokens, refused map[string]int, who string, given bool) {
	if given {
		tokens[who]++
	} else {
		refused[who]++
	}
}
