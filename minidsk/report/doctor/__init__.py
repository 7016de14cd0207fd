"""What is wrong with a run, read from what it logged: `diagnose` knows every fault of the files beside this one."""

from minidsk.report.doctor import answers as answers
from minidsk.report.doctor import learning as learning
from minidsk.report.doctor import machine as machine
from minidsk.report.doctor import reward as reward
from minidsk.report.doctor.diagnosis import diagnose as diagnose
