//! One request, one response: how a login goes from text to text and from stage to stage.

use super::{
    Admission, Authenticated, Introduction, Login, LoginEvent, LoginIdentity, LoginPolicy, Operational,
    OperationalStage, Requests, Security, SecurityStage, State,
};
use crate::keys::Key;
use crate::login_text::{Breach, Name, Pair, printable};
use crate::negotiation::REJECT;
use crate::{Answer, LoginFailure, SessionType, Violation, normalise_name};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{LoginRequest, LoginResponse, LoginStatus, Stage, Tsih, text};

impl Login {
    pub(super) fn handle_request(&mut self, request: LoginRequest) -> Result<(), Breach> {
        let window = self.config.window;
        let requests = self.requests.get_or_insert_with(|| Requests::new(&request, window));
        requests.admit(&request)?;
        if matches!(self.state, State::ExpectIdentification(_) | State::ExpectAdmission(_)) {
            // RFC 7143 6.3-1: one request at a time.
            return Err(Violation::LoginOutOfTurn.into());
        }
        if !self.outgoing.is_empty() {
            // RFC 7143 6.2-3: while we have more to say, the initiator says nothing.
            let silent = request.data.is_empty() && !request.continues;
            return if silent { self.respond(request.transit) } else { Err(Violation::TextInContinuation.into()) };
        }
        match self.incoming.push(request.data, request.continues)? {
            Some(text) => self.handle_text(&text, request.transit),
            // RFC 7143 6.2-2: text that goes on is answered with nothing.
            None => self.respond(None),
        }
    }

    /// A text is complete.
    fn handle_text(&mut self, text: &[u8], transit: Option<Stage>) -> Result<(), Breach> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let pairs = self.reader.read(text, requests.stage, requests.leader().is_leading())?;
        if !matches!(self.state, State::ExpectFirst) {
            return self.handle_pairs(&pairs, transit);
        }
        let identity = introduce(requests, &pairs)?;
        self.events.push_back(LoginEvent::Identify(identity.clone()));
        self.state = State::ExpectIdentification(Box::new(Introduction { identity, pairs, transit }));
        Ok(())
    }

    // RFC 7143 11.13.8-1: by the portal group.
    /// The owner has said how the initiator may log in: the first text is answered.
    pub(super) fn proceed(&mut self, policy: LoginPolicy) -> Result<(), Breach> {
        let (State::ExpectIdentification(introduction), Some(requests)) = (self.leave_state(), &mut self.requests)
        else {
            return Ok(());
        };
        let Introduction { identity, pairs, transit } = *introduction;
        let LoginPolicy { authentication, target_alias, portal_group_tag, limits, window } = policy;
        self.config.take(limits, window);
        requests.window = self.config.window;
        // RFC 7143 6.3.1-1: the portal group is named in the first response that may name it.
        let answers = &mut self.outgoing.text;
        text::push(answers, Key::TargetPortalGroupTag.row().name, &portal_group_tag.to_string());
        // RFC 7143 13.6-1: in normal sessions.
        if let Some(alias) = target_alias.filter(|_| identity.session_type == SessionType::Normal) {
            text::push(answers, Key::TargetAlias.row().name, &printable(&alias));
        }
        self.state = if requests.stage == Stage::SecurityNegotiation {
            let security = Security::new(authentication, self.randomness.clone());
            State::ExpectSecurity(Box::new(SecurityStage { identity, security }))
        } else if !authentication.is_required() {
            let initiator = Authenticated { identity, authenticated_as: None };
            State::ExpectOperational(Box::new(self.operational_stage(initiator)))
        } else {
            // RFC 7143 6.3.1: an initiator that has skipped the security stage although it is asked for.
            return Err(Violation::AuthenticationRequired.into());
        };
        self.handle_pairs(&pairs, transit)
    }

    fn operational_stage(&self, initiator: Authenticated) -> OperationalStage {
        let LoginIdentity { session_type, tsih, .. } = initiator.identity;
        let operational = Operational::new(session_type, tsih == Tsih(0), self.config.limits.clone());
        OperationalStage { initiator, operational }
    }

    fn handle_pairs(&mut self, pairs: &[Pair], transit: Option<Stage>) -> Result<(), Breach> {
        let answers = &mut self.outgoing.text;
        match &mut self.state {
            State::ExpectSecurity(stage) => stage.security.handle(pairs, answers)?,
            State::ExpectOperational(stage) => stage.operational.handle(pairs, answers)?,
            _ => {}
        }
        self.respond(transit)
    }

    // RFC 7143 11.13.6-2: only what the initiator proposes is taken.
    /// Sends the next segment of our text, and takes the step that the initiator proposes if it is the last one and nothing is open.
    fn respond(&mut self, transit: Option<Stage>) -> Result<(), Breach> {
        let may_end = match &mut self.state {
            State::ExpectSecurity(stage) => stage.security.may_end(),
            State::ExpectOperational(stage) => transit.is_some() && stage.operational.may_end(&mut self.outgoing.text),
            _ => false,
        };
        if self.outgoing.is_too_long() {
            return Err(Violation::LoginTooLong.into());
        }
        let (segment, continues) = self.outgoing.next_segment();
        // RFC 7143 6.2-1, 6.3-8: a step is taken with the last of our text, and with nothing open.
        match transit {
            Some(next) if may_end && !continues => self.step(next, segment),
            _ => {
                self.respond_success(None, continues, segment);
                Ok(())
            }
        }
    }

    /// Leaves the stage for the one that the initiator proposes, or for one before it.
    fn step(&mut self, proposed: Stage, last_segment: Bytes) -> Result<(), Breach> {
        match self.leave_state() {
            State::ExpectSecurity(stage) => {
                let SecurityStage { identity, security } = *stage;
                let authenticated_as = security.into_authenticated_as();
                let next = self.operational_stage(Authenticated { identity, authenticated_as });
                // RFC 7143 6.3-7: the target selects the next stage, which is no later than the proposed one.
                if proposed == Stage::FullFeaturePhase && next.operational.may_be_skipped() {
                    return self.expect_admission(next, last_segment);
                }
                self.state = State::ExpectOperational(Box::new(next));
                self.respond_success(Some(Stage::LoginOperationalNegotiation), false, last_segment);
                Ok(())
            }
            State::ExpectOperational(stage) => self.expect_admission(*stage, last_segment),
            _ => Ok(()),
        }
    }

    /// Both ends are done: asks the owner.
    fn expect_admission(&mut self, stage: OperationalStage, last_segment: Bytes) -> Result<(), Breach> {
        let OperationalStage { initiator, operational } = stage;
        let parameters = operational.conclude()?;
        self.events.push_back(LoginEvent::Admit(initiator.identity.clone()));
        self.state = State::ExpectAdmission(Box::new(Admission { initiator, parameters, last_segment }));
        Ok(())
    }

    fn respond_success(&mut self, transit: Option<Stage>, continues: bool, data: Bytes) {
        let Some(requests) = &mut self.requests else { return };
        let response = LoginResponse { transit, continues, data, ..requests.response(LoginStatus::Success) };
        if let Some(next) = transit {
            requests.stage = next;
        }
        self.transmit.push_back(response.into());
    }

    /// Ends the login with a status, and perhaps a key that says more.
    pub(super) fn respond_with_status(&mut self, status: LoginStatus, pair: Option<(Key, &str)>) {
        let Some(requests) = &mut self.requests else { return };
        let mut data = BytesMut::new();
        if let Some((key, value)) = pair {
            text::push(&mut data, key.row().name, value);
        }
        let response = LoginResponse { data: data.freeze(), ..requests.response(status) };
        self.transmit.push_back(response.into());
    }

    pub(super) fn reject(&mut self, breach: Breach) {
        // RFC 7143 6.3.2-2: a list without a method that may be used is answered with Reject, although the login ends with it.
        let none_suits = breach == Violation::NoCommonMethod.by(Key::AuthMethod);
        let answer = none_suits.then_some((Key::AuthMethod, REJECT));
        // RFC 7143 6.3-11, 6.3.2-4, 7.12-1, 7.12-2: whatever rule was broken, a response with its status is the last of the connection.
        self.respond_with_status(status_of(breach.violation), answer);
        self.close(breach.into());
    }

    pub(super) fn close(&mut self, failure: LoginFailure) {
        self.state = State::Over;
        self.events.push_back(LoginEvent::Closed(failure));
    }
}

/// Who logs in, from the first text (RFC 7143 6.3-2, 6.3-3, 4.2.7.1-4).
fn introduce(requests: &Requests, pairs: &[Pair]) -> Result<LoginIdentity, Breach> {
    let find = |key| pairs.iter().find(|pair| pair.key == Name::Known(key)).map(|pair| pair.value.as_str());
    let name = |key: Key| find(key).map(|name| normalise_name(name).map_err(|_| Violation::MalformedName.by(key)));
    let session_type = match find(Key::SessionType) {
        None | Some("Normal") => SessionType::Normal,
        Some("Discovery") => SessionType::Discovery,
        Some(_) => return Err(Violation::UnknownSessionType.by(Key::SessionType)),
    };
    let target_name = name(Key::TargetName).transpose()?;
    if target_name.is_none() && session_type == SessionType::Normal {
        return Err(Violation::MissingName.by(Key::TargetName));
    }
    let leader = requests.leader();
    Ok(LoginIdentity {
        initiator_name: name(Key::InitiatorName).ok_or(Violation::MissingName.by(Key::InitiatorName))??,
        initiator_alias: find(Key::InitiatorAlias).map(printable),
        target_name,
        session_type,
        isid: leader.isid,
        tsih: leader.tsih,
        cid: leader.cid,
    })
}

/// What an initiator is told about the rule that it broke.
pub(super) fn status_of(violation: Violation) -> LoginStatus {
    match violation.answer() {
        Answer::Refuse(status) => status,
        _ => LoginStatus::InitiatorError,
    }
}
