// Package witness makes the content of a volume that says of itself whose it is, of which
// generation, and whether it is whole. Whoever reads it can judge it without asking
// anybody; it holds no secret.
package witness
