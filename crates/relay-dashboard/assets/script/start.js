// The end of each script: now each button is heard.

for (const button of document.querySelectorAll('button:disabled')) button.disabled = false;
