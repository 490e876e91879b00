package tracing_test

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// span is a span as it came over the wire.
type span struct {
	name, trace, id, parent string
	kind                    otlp.Span_SpanKind
	failed                  bool
	from, to                uint64 // ns
	attributes              map[string]string
	events                  []string // the error.type of each
	service                 string
}

// receiver is an OpenTelemetry collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	endpoint string

	mu    sync.Mutex
	spans []span
}

// receiveHTTP takes OTLP over HTTP until the end of the test, and names itself in the environment.
func receiveHTTP(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		export := &collector.ExportTraceServiceRequest{}
		if err == nil {
			err = proto.Unmarshal(body, export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		r.keep(export)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(srv.Close)
	r.endpoint = srv.URL
	r.announce(t, "http/protobuf")
	return r
}

// receiveGRPC is receiveHTTP over gRPC.
func receiveGRPC(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, r)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		assert.NoError(t, <-ended)
	})
	r.endpoint = "http://" + l.Addr().String()
	r.announce(t, "grpc")
	return r
}

func (r *receiver) announce(t *testing.T, protocol string) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.endpoint)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
}

// Export is the method of the gRPC service.
func (r *receiver) Export(_ context.Context, export *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.keep(export)
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *receiver) keep(export *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range export.GetResourceSpans() {
		service := attributes(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				kept := span{
					name: s.GetName(), trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()),
					parent: hex.EncodeToString(s.GetParentSpanId()), kind: s.GetKind(), from: s.GetStartTimeUnixNano(), to: s.GetEndTimeUnixNano(),
					failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, attributes: attributes(s.GetAttributes()), service: service,
				}
				for _, e := range s.GetEvents() {
					kept.events = append(kept.events, attributes(e.GetAttributes())["error.type"])
				}
				r.spans = append(r.spans, kept)
			}
		}
	}
}

func attributes(of []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range of {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_BoolValue:
			all[a.GetKey()] = strconv.FormatBool(v.BoolValue)
		}
	}
	return all
}

// those are the spans received until now that have all of the attributes (name, value, in turn).
func (r *receiver) those(pairs ...string) []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []span
	for _, s := range r.spans {
		all := true
		for i := 0; i < len(pairs); i += 2 {
			all = all && s.attributes[pairs[i]] == pairs[i+1]
		}
		if all {
			found = append(found, s)
		}
	}
	return found
}

// below are the spans whose parent is s.
func (r *receiver) below(s span) []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []span
	for _, child := range r.spans {
		if child.parent == s.id && child.trace == s.trace {
			found = append(found, child)
		}
	}
	return found
}
