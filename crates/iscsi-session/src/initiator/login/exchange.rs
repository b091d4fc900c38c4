//! One response, one request: how a login goes from text to text and from stage to stage.

use super::{Login, LoginEvent, Operational, State};
use crate::keys::{End, Key};
use crate::login_text::{Breach, Name, Pair};
use crate::negotiation::{Negotiation, answer_unknown};
use crate::{LoginFailure, LoginOutcome, Violation};
use bytes::BytesMut;
use iscsi_pdu::{LoginResponse, LoginStatus, Stage, text};

impl Login {
    pub(super) fn handle_response(&mut self, response: LoginResponse) -> Result<(), Breach> {
        if response.status != LoginStatus::Success {
            return self.handle_refusal(&response);
        }
        self.responses.admit(&response)?;
        if !self.outgoing.is_empty() {
            // RFC 7143 6.2-2: while we have more to say, the target says nothing.
            if !response.data.is_empty() || response.continues {
                return Err(Violation::TextInContinuation.into());
            }
            self.send();
            return Ok(());
        }
        let Some(text) = self.incoming.push(response.data.clone(), response.continues)? else {
            // RFC 7143 6.2-3: text that goes on is answered with nothing.
            self.send();
            return Ok(());
        };
        let pairs = self.reader.read(&text, self.responses.stage, self.responses.is_leading())?;
        self.handle_pairs(&pairs, &response)
    }

    /// A text is complete.
    fn handle_pairs(&mut self, pairs: &[Pair], response: &LoginResponse) -> Result<(), Breach> {
        self.state = match core::mem::replace(&mut self.state, State::Over) {
            State::ExpectSecurity(mut security) => {
                security.handle(pairs, &mut self.outgoing.text)?;
                if response.transit.is_none() {
                    State::ExpectSecurity(security)
                } else {
                    let authenticated_as = security.end()?;
                    self.responses.stage = Stage::LoginOperationalNegotiation;
                    self.begin_operational(authenticated_as)
                }
            }
            State::ExpectOperational(mut operational) if response.transit.is_none() => {
                operational.answer(pairs, &mut self.outgoing.text)?;
                State::ExpectOperational(operational)
            }
            State::ExpectOperational(operational) => return self.complete(*operational, pairs, response),
            State::Over => State::Over,
        };
        self.send();
        Ok(())
    }

    pub(super) fn begin_operational(&mut self, authenticated_as: Option<String>) -> State {
        let (session_type, limits) = (self.config.session_type, self.config.limits.clone());
        let mut negotiation = Negotiation::new(End::Initiator, session_type, self.responses.is_leading(), limits);
        negotiation.offer_all(&mut self.outgoing.text);
        negotiation.declare(&mut self.outgoing.text);
        State::ExpectOperational(Box::new(Operational { negotiation, authenticated_as }))
    }

    // RFC 7143 11.2.1.2-1: Login Requests are all that goes during the login.
    /// Sends the next segment of our text, and with the last one proposes to go on, if we are ready to.
    ///
    /// RFC 7143 6.2-4, 6.3-1, 6.3.3-1, 6.3.3-2: one request for each response and no other, each with our wish to go on, even if it is
    /// empty.
    pub(super) fn send(&mut self) {
        let wish = match &self.state {
            State::ExpectSecurity(security) => security.may_end().then_some(Stage::LoginOperationalNegotiation),
            State::ExpectOperational(_) => Some(Stage::FullFeaturePhase),
            State::Over => return,
        };
        let (segment, continues) = self.outgoing.next_segment();
        // RFC 7143 6.2-1: not while there is more text.
        let request = self.responses.request(wish.filter(|_| !continues), continues, segment);
        self.transmit.push_back(request.into());
    }

    fn complete(&mut self, operational: Operational, pairs: &[Pair], last: &LoginResponse) -> Result<(), Breach> {
        let Operational { mut negotiation, authenticated_as } = operational;
        for pair in pairs {
            match pair.key {
                // RFC 7143 11.13.6: nothing that we would have to answer comes with the last response.
                Name::Known(key) if key.is_negotiated() && !negotiation.has_offered(key) => {
                    return Err(Violation::OfferWithTransit.by(key));
                }
                Name::Known(key) => negotiation.handle(key, &pair.value, &mut BytesMut::new())?,
                Name::Unknown(_) => {}
            }
        }
        let tsih = self.responses.tsih(last)?;
        let parameters = negotiation.conclude()?;
        // RFC 7143 11.12.8: a connection that joins has its commands numbered by the session.
        let cmd_sn = if self.responses.is_leading() { self.responses.cmd_sn } else { last.exp_cmd_sn };
        // RFC 7143 4.2.2.1: a window that ends before it begins says nothing.
        let window_is_sound = last.exp_cmd_sn.previous().distance_to(last.max_cmd_sn) >= 0;
        self.end(LoginEvent::Complete(Box::new(LoginOutcome {
            initiator_name: self.config.initiator_name.clone(),
            target_name: self.config.target_name.clone(),
            session_type: self.config.session_type,
            isid: self.config.isid,
            tsih,
            cid: self.config.cid,
            parameters,
            cmd_sn,
            stat_sn: self.responses.exp_stat_sn(),
            max_cmd_sn: if window_is_sound { last.max_cmd_sn } else { cmd_sn.previous() },
            authenticated_as,
        })));
        Ok(())
    }

    /// RFC 7143 11.13.5-2, 11.13.5-3, 11.13.5-4: the login is over, in whichever stage, and its other fields mean nothing.
    fn handle_refusal(&mut self, response: &LoginResponse) -> Result<(), Breach> {
        let permanent = match response.status {
            LoginStatus::TargetMovedTemporarily => false,
            LoginStatus::TargetMovedPermanently => true,
            status => {
                self.end(LoginEvent::Failed(LoginFailure::Refused(status)));
                return Ok(());
            }
        };
        let name = Key::TargetAddress.row().name;
        let mut pairs = text::pairs(&response.data).flatten();
        let address = pairs.find_map(|(key, value)| (key == name).then_some(value));
        // RFC 7143 13.8: a redirection has no portal group tag; some targets send it nevertheless.
        let address = address.and_then(|address| address.split(',').next()).filter(|address| !address.is_empty());
        let address = address.ok_or(Violation::RedirectWithoutAddress)?.to_owned();
        self.end(LoginEvent::Redirected { address, permanent });
        Ok(())
    }
}

impl Operational {
    /// The target has answered, perhaps not everything yet, and perhaps offers something itself.
    fn answer(&mut self, pairs: &[Pair], answers: &mut BytesMut) -> Result<(), Breach> {
        for pair in pairs {
            match &pair.key {
                Name::Known(key) => self.negotiation.handle(*key, &pair.value, answers)?,
                Name::Unknown(name) => answer_unknown(name, answers),
            }
        }
        Ok(())
    }
}
