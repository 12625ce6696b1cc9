// Command soak lets pods with observers come and go on the test ground, as long as it is
// told, and says what the observers saw, whether anything is left of the pods that went,
// and whether the driver and the providers grew. With -faults it meanwhile kills the
// driver, the provider, kubelet, containerd and the API server, and lets the provider
// misbehave. It changes nothing outside its namespace but what its faults break.
package main
