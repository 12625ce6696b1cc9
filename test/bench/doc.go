// Command bench measures the released driver with the scripted provider against a real
// API server, and prints the figures beside the aims. It never fails because of one.
package main
