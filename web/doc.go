// Package web is the status page and the JSON behind it.
//
// What is guaranteed:
//
//   - Nothing here changes anything: GET and HEAD alone are answered, and a Source only reads.
//   - Redis is asked by one collector, and only while somebody looks; all clients share what it read. What many pages cost
//     is the writing of bytes that are already there.
//   - Everything is bounded: the observations that are held, the clients, the requests under way, the parameters, the time of
//     every read and write.
//   - Numbers come from the streams and keys. What Redis does not know is null; what has been trimmed is said to be gone.
//   - Text from plans, heat and dead letters is data: JSON in which no markup survives, under a Content-Security-Policy
//     that runs no inline script.
//
// It never knows a Redis client or where a setting came from: all comes by Options and Source. The exported types are the
// answers of the API. openapi.yaml is the interface; a test holds the handlers against it.
//
//	page, err := web.New(web.Options{Source: operator, History: history, …})
//	go page.Run(ctx)           // ends with ctx, and with it every stream of events
//	http.Handle("/", page)
package web
