//! The operator's page: a small HTTP server with the live picture, the objects' states, and the
//! means to annotate, record and choose. It knows the live run only through [`Operator`], so that
//! no fault here can reach the picture: whatever a browser does, it loses its own frames.
//!
//! | file | holds |
//! |---|---|
//! | `operator` | the trait and what it tells the page |
//! | `preview` | the newest picture, shared by all clients |
//! | `server`, `places` | sockets, limits, threads; who may hold a connection |
//! | `guard`, `rate` | who may ask, and how often |
//! | `routes`, `input`, `reply` | one function a request, what comes in and what goes out |
//! | `stream`, `stall` | MJPEG; connections that stop reading are cut |
//! | `prometheus` | `/metrics` |
//! | `page/` | the page itself, embedded |

mod guard;
mod input;
mod operator;
mod places;
mod preview;
mod prometheus;
mod rate;
mod reply;
mod routes;
mod server;
mod stall;
mod stream;

#[cfg(test)]
mod tests;

pub use operator::{
    Counter, Event, Frozen, LatencyPoint, ModelState, ModelStatus, ObjectStatus, Operator,
    PagePoint, PagePrompt, Proposal, RecordingStatus, SourceState, SourceStatus, Status,
};
pub use preview::Preview;
pub use server::{WebError, WebServer};
