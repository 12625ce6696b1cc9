// Package imports holds tests of the repository as a whole: which package may reach
// which, where package comments are, what go.mod may say. It has no code.
package imports
