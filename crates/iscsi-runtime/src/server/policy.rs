//! Which connections an adapter takes, and how, as the owner of a server wants it.

use super::Server;
use super::shared::Message;
use crate::network::PolicyError;
use std::sync::Arc;
use t5_policy::Program;

impl Server {
    /// Has an offload policy decide on connections that begin from now on, where the server is on a function of an adapter. Connections that there
    /// are stay as they are.
    ///
    /// # Errors
    /// There is no adapter, or it cannot do what the policy says; then the policy from before decides.
    pub fn set_policy(&self, program: Program) -> Result<(), PolicyError> {
        let program = Arc::new(program);
        let (answers, silent) = self.shared.ask(|answer| Message::Policy(Arc::clone(&program), answer));
        let answers = answers.into_iter().collect::<Result<(), _>>();
        if silent > 0 { answers.and(Err(PolicyError::Silent)) } else { answers }
    }
}
