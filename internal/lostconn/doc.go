// Package lostconn tests what an HTTP client does with a connection that the network has
// forgotten, as a firewall does after some idle minutes: nothing comes back on it.
package lostconn
