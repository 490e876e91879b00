package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots is how many a Redis Cluster has.
const slots = 16384

// Cluster is a Redis Cluster that belongs to one test: primaries that share the slots evenly, and a replica of each.
type Cluster struct {
	t     T
	Nodes []*Server // the primaries, then the replica of each
}

// StartCluster starts a cluster of so many primaries with a replica each, and returns when it works. A node that is down
// for two seconds is failed over.
func StartCluster(t T, primaries int) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var bus []int
	for range 2 * primaries {
		port := reservePort(t)
		bus = append(bus, port)
		c.Nodes = append(c.Nodes, Start(t,
			WithConfig("cluster-enabled", "yes"), WithConfig("cluster-port", strconv.Itoa(port)),
			WithConfig("cluster-node-timeout", "2000"), WithConfig("repl-diskless-sync-delay", "0")))
	}
	for i, node := range c.Nodes {
		c.do(node, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < primaries {
			c.do(node, "CLUSTER", "ADDSLOTSRANGE", i*slots/primaries, (i+1)*slots/primaries-1)
		}
	}
	for i, node := range c.Nodes[1:] {
		c.do(c.Nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, bus[i+1])
	}
	c.await("all nodes know each other", func(node *Server) bool {
		return strings.Contains(c.text(node, "CLUSTER", "INFO"), fmt.Sprintf("cluster_known_nodes:%d\r", 2*primaries)) &&
			!strings.Contains(c.text(node, "CLUSTER", "NODES"), "handshake")
	})
	for i, replica := range c.Nodes[primaries:] {
		c.do(replica, "CLUSTER", "REPLICATE", c.id(c.Nodes[i]))
	}
	c.AwaitOK()
	c.await("all replicas have their data, and their primaries know it", func(node *Server) bool {
		info := c.text(node, "INFO", "replication")
		return strings.Contains(info, ",state=online,") || strings.Contains(info, "master_link_status:up")
	})
	return c
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// AwaitOK waits until every node that runs says that all slots are served.
func (c *Cluster) AwaitOK() {
	c.t.Helper()
	c.await("the cluster works", func(node *Server) bool {
		return strings.Contains(c.text(node, "CLUSTER", "INFO"), "cluster_state:ok")
	})
}

// Owner is the running primary that serves the slot of a key.
func (c *Cluster) Owner(key string) *Server {
	c.t.Helper()
	var owner *Server
	c.await("somebody owns the slot of "+key, func(*Server) bool {
		for _, node := range c.Nodes {
			if node.PID() == 0 || !strings.Contains(c.text(node, "INFO", "replication"), "role:master") {
				continue
			}
			if err := c.try(node, "EXISTS", key); err == nil {
				owner = node
				return true
			}
		}
		return false
	})
	return owner
}

// MoveSlot moves the slot of a key to another primary as resharding does, key by key and with a pause between them.
func (c *Cluster) MoveSlot(key string, to *Server, pause time.Duration) {
	c.t.Helper()
	from := c.Owner(key)
	slot := c.text(from, "CLUSTER", "KEYSLOT", key)
	c.do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.id(from))
	c.do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.id(to))
	for deadline := time.Now().Add(readyLimit); ; {
		ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
		keys, err := from.Client().Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, 100).StringSlice()
		cancel()
		if err != nil || time.Now().After(deadline) {
			c.t.Fatalf("redistest: move slot %s: %d keys left: %v", slot, len(keys), err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, "KEYS"}
		for _, key := range keys {
			args = append(args, key)
		}
		c.do(from, args...)
		time.Sleep(pause)
	}
	for _, node := range c.Nodes {
		if node.PID() != 0 && strings.Contains(c.text(node, "INFO", "replication"), "role:master") {
			c.do(node, "CLUSTER", "SETSLOT", slot, "NODE", c.id(to))
		}
	}
}

func (c *Cluster) id(node *Server) string { return c.text(node, "CLUSTER", "MYID") }

// await waits until what holds of every node that runs.
func (c *Cluster) await(what string, holds func(*Server) bool) {
	c.t.Helper()
	deadline := time.Now().Add(readyLimit)
	for _, node := range c.Nodes {
		for node.PID() != 0 && !holds(node) {
			if time.Now().After(deadline) {
				c.t.Fatalf("redistest: not within %s: %s", readyLimit, what)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func (c *Cluster) do(node *Server, args ...any) {
	c.t.Helper()
	if err := c.try(node, args...); err != nil {
		c.t.Fatalf("redistest: %v on %s: %v", args, node, err)
	}
}

func (c *Cluster) try(node *Server, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	err := node.Client().Do(ctx, args...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// text is the answer to a command as text, "" when there is none.
func (c *Cluster) text(node *Server, args ...any) string {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	answer, err := node.Client().Do(ctx, args...).Result()
	if err != nil {
		return ""
	}
	return fmt.Sprint(answer)
}
