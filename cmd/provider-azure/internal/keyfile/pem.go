package keyfile

import (
	"bytes"
	"encoding/pem"
	"strings"
)

// Types of PEM blocks.
const (
	typeKey    = "PRIVATE KEY"
	typeCert   = "CERTIFICATE"
	typePublic = "PUBLIC KEY"
)

// Split returns the certificates of a PEM text, and everything else in it.
// (azure-contract 5.12)
func Split(text []byte) (certs, others []byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return certs, others
		}
		encoded := pem.EncodeToMemory(block)
		if block.Type == typeCert {
			certs = append(certs, encoded...)
		} else {
			others = append(others, encoded...)
		}
	}
}

// OrderPEM puts the certificates of a PEM text in the order of a chain. They change
// places among themselves; all else, such as keys and white space, stays where and as
// it is. Unless the text has nothing but blocks of PEM, and its certificates make one
// chain, it comes back unchanged, and whole is false.
func OrderPEM(text string) (ordered string, whole bool) {
	pieces, at, ok := cut(text)
	if !ok {
		return text, false
	}
	if len(at) < 2 {
		return text, true
	}
	ders := make([][]byte, len(at))
	for i, piece := range at {
		block, _ := pem.Decode([]byte(pieces[piece]))
		ders[i] = block.Bytes // cut has seen that it is one
	}
	order, err := chain(ders)
	if err != nil || len(order) != len(at) {
		return text, false
	}
	certs := make([]string, len(at))
	for i, from := range order {
		certs[i] = pieces[at[from]]
	}
	for i, piece := range at {
		pieces[piece] = certs[i]
	}
	return strings.Join(pieces, ""), true
}

// cut cuts a PEM text into blocks and the white space around them, and tells which
// pieces are certificates. It is not ok if there is anything else.
func cut(text string) (pieces []string, certs []int, ok bool) {
	rest := []byte(text)
	for {
		block, after := pem.Decode(rest)
		if block == nil {
			pieces = append(pieces, string(rest))
			return pieces, certs, len(bytes.TrimSpace(rest)) == 0
		}
		whole := rest[:len(rest)-len(after)]
		head := whole[:len(whole)-len(bytes.TrimLeft(whole, white))]
		body := bytes.Trim(whole, white)
		if !isBlock(body, block.Type) {
			return nil, nil, false
		}
		if block.Type == typeCert {
			certs = append(certs, len(pieces)+1)
		}
		pieces = append(pieces, string(head), string(body), string(whole[len(head)+len(body):]))
		rest = after
	}
}

// white is what may stand between blocks.
const white = " \t\r\n"

// isBlock says whether the text is a block of the type from its first byte to its last:
// a decoder skips what it does not understand.
func isBlock(text []byte, kind string) bool {
	begin, end := []byte("-----BEGIN "), []byte("-----END "+kind+"-----")
	return bytes.HasPrefix(text, append(begin, kind+"-----"...)) && bytes.HasSuffix(text, end) && bytes.Count(text, begin) == 1
}
