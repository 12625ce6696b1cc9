// Package postgres runs a PostgreSQL of Debian in the run folder of a Vault,
// for the credentials that Vault makes there. It never touches one of the
// system.
package postgres
