// Command login runs in a pod and logs in to PostgreSQL again and again, with
// the user and password that it reads from a volume each time. The server is
// that of the environment (PGHOST and its like).
//
// It writes a line for each failure, and one a second with the counts so far.
// Asked to stop, it fails if one login has failed.
package main
