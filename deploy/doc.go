// Package deploy holds no code: it is what an operator needs beside the binary, and its tests hold every file against the
// program.
//
//	prometheus/  recording and alert rules, with unit tests for promtool; each alert has its section in docs/runbook.md
//	grafana/     a dashboard and its provisioning
//	redis/       users with least privilege
//	systemd/     the service
//	compose/     what docker-compose.yml mounts, stand-ins of its base images, and the test that brings it up
//	kubernetes/  example manifests, checked in a module of their own
//	pipeline     the local pipeline as processes
//
// Every metric that a rule or a panel names is looked for at the endpoint of a real run, every unit is read by systemd
// itself, and every rule is tried by promtool; where a tool is missing its test is skipped, and fails where the environment
// says CI=true.
package deploy
