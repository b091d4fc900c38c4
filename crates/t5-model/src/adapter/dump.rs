//! What an adapter is at, for whoever looks for why something does not go on: `Debug` of [`Adapter`].

use super::Adapter;
use super::flow::Flow;
use super::function::Function;
use std::fmt;

impl fmt::Debug for Adapter {
    /// Queues and connections with what waits in them; only the doorbells while somebody else has the adapter.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut adapter = formatter.debug_struct("Adapter");
        adapter.field("is_rung", &self.is_rung());
        let Some(core) = self.core.try_lock() else { return adapter.finish_non_exhaustive() };
        let functions: Vec<_> = core.functions.iter().map(FunctionDump).collect();
        let flows: Vec<_> = core.flows.iter().map(|(tid, flow)| FlowDump(tid, flow)).collect();
        adapter
            .field("now", &self.now())
            .field("ready", &core.ready)
            .field("frames", &core.frames.len())
            .field("next_timer", &core.timers.first())
            .field("functions", &functions)
            .field("flows", &flows)
            .finish()
    }
}

struct FunctionDump<'a>(&'a Function);

impl fmt::Debug for FunctionDump<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.0;
        let ingress: Vec<_> = function.ingress.values().collect();
        let egress: Vec<_> = function.egress.values().collect();
        formatter
            .debug_struct("Function")
            .field("function", &format_args!("{}", function.id))
            .field("ingress", &ingress)
            .field("egress", &egress)
            .field("stalled", &function.stalled)
            .finish_non_exhaustive()
    }
}

struct FlowDump<'a>(usize, &'a Flow);

impl fmt::Debug for FlowDump<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tid, flow) = self;
        formatter
            .debug_struct("Flow")
            .field("tid", tid)
            .field("owner", &format_args!("{}", flow.owner))
            .field("tuple", &flow.tuple)
            .field("tcp", &flow.tcp)
            .field("requests", &flow.requests.len())
            .field("credits_held", &flow.credits_held)
            .field("credits_owed", &flow.credits_owed)
            .field("unacknowledged_bytes", &flow.unacknowledged_bytes)
            .field("window_bytes", &flow.window_bytes)
            .field("other_end", &flow.other_end)
            .field("timer", &flow.timer)
            .field("is_ready", &flow.is_ready)
            .finish_non_exhaustive()
    }
}
