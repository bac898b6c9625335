//! The machines' power and buttons over HTTP, for what is no part of this process: a BMC, an sshd's command.
//!
//! A machine is named by its name or by its address.
//!
//! - `GET /machines/NAME`: `{"name", "bootID", "uptime", "reboots", "powered"}`
//! - `POST /machines/NAME/reboot`, `/off`, `/on`
//! - `POST /machines/NAME/order?boot-id=…&not-after=…`: an order to reboot, with its guard: `{"code", "said"}`
//! - `POST /machines/NAME/advance?seconds=…`: so much time passes there

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::machines::Machines;
use super::names::internal_ip;
use crate::http::{Control, Double, Reply, Request, Server};
use crate::{Error, Result};

/// It stops when dropped.
pub struct MachineControl(Server);

impl MachineControl {
    pub fn start(machines: &Machines) -> Self {
        let double = Arc::new(Buttons { machines: machines.clone() });
        let control = Arc::new(Control::default());
        control.record(false);
        Self(Server::start(double, control))
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        self.0.url()
    }
}

struct Buttons {
    machines: Machines,
}

impl Double for Buttons {
    fn answer(&self, request: &Request) -> Reply {
        let path: Vec<&str> = request.path.split('/').skip(1).collect();
        let done = match (request.method.as_str(), &path[..]) {
            ("GET", ["machines", name]) => self.facts(name),
            ("POST", ["machines", name, action]) => self.press(name, action, request),
            _ => Err(Error::new("no such path")),
        };
        done.unwrap_or_else(|error| self.error(request, 404, Some(&error.to_string())))
    }

    fn error(&self, _: &Request, code: u16, message: Option<&str>) -> Reply {
        Reply::text(code, format!("{}\n", message.unwrap_or("failed on request")))
    }
}

impl Buttons {
    fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.machines.names().find(|one| internal_ip(one).to_string() == name).unwrap_or(name)
    }

    fn facts(&self, name: &str) -> Result<Reply> {
        let name = self.name(name);
        let facts = self.machines.facts(name)?;
        Ok(Reply::json(
            200,
            &json!({"name": name, "bootID": facts.boot_id, "uptime": facts.uptime.as_secs(),
                "reboots": facts.reboots, "powered": facts.powered}),
        ))
    }

    fn press(&self, name: &str, action: &str, request: &Request) -> Result<Reply> {
        let name = self.name(name);
        let parameter = |name: &str| request.parameter(name).unwrap_or_default();
        match action {
            "reboot" => self.machines.reboot(name)?,
            "off" => self.machines.power_off(name)?,
            "on" => self.machines.press_power(name)?,
            "order" => {
                let (code, said) =
                    self.machines.order_reboot(name, &parameter("boot-id"), &parameter("not-after"))?;
                return Ok(Reply::json(200, &json!({"code": code, "said": said})));
            }
            "advance" => {
                let seconds =
                    parameter("seconds").parse().map_err(|_| Error::new("seconds: a whole number"))?;
                self.machines.advance_uptime(name, Duration::from_secs(seconds))?;
            }
            _ => return Err(Error::new("reboot, off, on, order or advance")),
        }
        self.facts(name)
    }
}
