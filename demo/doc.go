// Package demo shows the whole pipeline at work: stand-ins for apply layer, heat gate and heat bridge, and a real
// observer, on a Redis inside the process or one that is given. What it prints comes from the observed stream, as anybody
// outside would see it, and never from the memory of the observer: of that it knows app.Run and
// the client that it uses.
package demo
